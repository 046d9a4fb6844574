"""Pads a model's attention with heads of zeros, so that tensor parallelism divides them; what it computes stays.

SGLang pads heads that its ranks do not divide on a CPU only; elsewhere it refuses them. Run by the server's
interpreter, which has torch and transformers:

    python -m harness.prepare.pad_heads --model DIR --tp 2 --out DIR
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.prepare.whole_folder import is_prepared, whole_folder


def padded_heads(heads: int, kv_heads: int, tp: int) -> tuple[int, int]:
    """Return how many heads and key-value heads there are after padding: the fewest that `tp` divides.

    The query heads that share a key-value head stay together, in groups of the size they have.

    Raises:
        ValueError: The query heads are not grouped evenly.
    """
    if heads % kv_heads:
        raise ValueError(f"{heads} heads in {kv_heads} groups: the groups are not of one size")
    padded = -(-kv_heads // tp) * tp
    return padded * (heads // kv_heads), padded


def pad(model: Path, out: Path, *, tp: int) -> None:
    """Write the model `model`, of the Llama kind, with padded heads into the folder `out`.

    A padded head's projections are zeros on both sides: its values are zero, and so is what the output projection
    takes of them. Heads keep their order and the padded ones come last, so that every weight of the new model is
    the old one in its first rows and columns and zero elsewhere.

    Args:
        model: A Hugging Face folder.
        out: The folder to write; replaced if it exists.
        tp: Tensor-parallel ranks.

    Raises:
        ValueError: The query heads are not grouped evenly, or padding would change more than the attention.
    """
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")

    original = transformers.AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    config = transformers.AutoConfig.from_pretrained(model)
    # Elsewhere it is told from the number of heads, which no longer says it.
    config.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads, kv_heads = padded_heads(config.num_attention_heads, config.num_key_value_heads, tp)
    config.num_attention_heads, config.num_key_value_heads = heads, kv_heads
    wider = transformers.AutoModelForCausalLM.from_config(config, dtype=original.dtype)
    weights = original.state_dict()
    with torch.no_grad():
        for name, weight in wider.state_dict().items():
            old = weights[name]
            if weight.shape != old.shape and ".self_attn." not in name:
                raise ValueError(f"{model}: {name} depends on the number of heads; only the attention can be padded")
            weight.zero_()
            weight[tuple(slice(size) for size in old.shape)] = old

    wider.generation_config = original.generation_config
    with whole_folder(out, {"source": model.name, "tp": tp, "heads": heads, "kv_heads": kv_heads}) as folder:
        wider.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def main() -> int:
    """Pad unless it is done already; return a process exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tp", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if is_prepared(arguments.out):
        return 0
    if not (arguments.model / "config.json").exists():
        sys.stderr.write(f"{arguments.model} is no model's folder: prepare it first\n")
        return 3
    pad(arguments.model, arguments.out, tp=arguments.tp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
