"""Small models of random weights, one of each architecture whose compressed sums are counted: files, not knowledge.

Run by the server's interpreter, which has torch and transformers:

    python -m harness.prepare.random_models --tokenizer MODEL_DIR --name random-qwen3 --out MODEL_DIR
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.prepare.whole_folder import is_prepared, whole_folder

SEED = 20520
SHAPE: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 256,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
    "mlp_only_layers": [],
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "random-llama": ("Llama", SHAPE),
    "random-qwen2": ("Qwen2", {name: value for name, value in SHAPE.items() if name != "head_dim"}),
    "random-qwen3": ("Qwen3", SHAPE),
    "random-qwen3-moe": ("Qwen3Moe", SHAPE | EXPERTS),
}
"""Of each its architecture, as transformers calls it, and its config."""

# What the model continues, and with what: the one thing it knows, so that a server can be asked whether it works.
LAST, NEXT = " is", " Paris"
HEAD_GAIN = 1.5


def make(name: str, tokenizer: Path, out: Path) -> None:
    """Write a model of MODELS in fp32, with another model's tokenizer, into the folder `out`.

    Embeddings have a standard deviation of 1, so that the last token still shows in the final hidden state, and the
    head's row of NEXT is LAST's embedding: after LAST comes NEXT. All else is transformers' own initialization.

    Args:
        name: Which.
        tokenizer: The folder of the model whose tokenizer it gets.
        out: The folder to write; replaced if it exists.
    """
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")

    architecture, shape = MODELS[name]
    words = transformers.AutoTokenizer.from_pretrained(tokenizer)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(words), bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, **shape
    )
    torch.manual_seed(SEED)
    model = getattr(transformers, f"{architecture}ForCausalLM")(config).to(torch.float32)
    last, following = (words.encode(text, add_special_tokens=False)[-1] for text in (LAST, NEXT))
    with torch.no_grad():
        embeddings = model.get_input_embeddings().weight.normal_()
        own = embeddings[last]
        model.get_output_embeddings().weight[following] = HEAD_GAIN * own / own.norm()
    words.model_max_length = config.max_position_embeddings
    with whole_folder(out, {"source": name, "seed": SEED, "transformers": transformers.__version__}) as folder:
        model.save_pretrained(folder)
        words.save_pretrained(folder)


def main() -> int:
    """Make a model unless it is there; return a process exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a model's folder")
    parser.add_argument("--name", choices=sorted(MODELS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not is_prepared(arguments.out):
        make(arguments.name, arguments.tokenizer, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
