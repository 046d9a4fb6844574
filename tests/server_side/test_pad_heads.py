"""A model whose attention is padded for tensor parallelism computes what it did before, in transformers itself."""

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast

from harness.prepare import pad_heads
from harness.prepare.pad_heads import pad, padded_heads

HEADS, KV_HEADS, HEAD, WIDTH = 9, 3, 8, 72
CACHE = Path(os.environ.get("HARNESS_CACHE") or Path(__file__).resolve().parents[2] / ".cache")
SMOLLM2 = CACHE / "models" / "SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    ("heads", "kv_heads", "tp", "expected"),
    [
        (9, 3, 2, (12, 4)),
        (9, 3, 4, (12, 4)),
        (9, 3, 8, (24, 8)),
        (8, 8, 2, (8, 8)),
        (9, 3, 3, (9, 3)),
        (7, 1, 2, (14, 2)),
    ],
)
def test_groups_stay_whole(heads: int, kv_heads: int, tp: int, expected: tuple[int, int]) -> None:
    assert padded_heads(heads, kv_heads, tp) == expected


def test_uneven_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="9 heads in 2 groups"):
        padded_heads(9, 2, 2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with SmolLM2's grouping, and a tokenizer of a few words."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only here
    from tokenizers.models import WordLevel  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("models") / "small"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        tie_word_embeddings=True,
    )
    llama, fast = cast("tuple[Any, Any]", (AutoModelForCausalLM, PreTrainedTokenizerFast))
    llama.from_config(config).save_pretrained(folder)
    words = Tokenizer(WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))  # noqa: S106 - no password
    fast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(folder)  # noqa: S106
    return folder


def logits(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        found: torch.Tensor = model(tokens).logits
    return found


@pytest.mark.parametrize("tp", [2, 8])
def test_its_logits_are_the_models_own(small: Path, tmp_path: Path, tp: int) -> None:
    pad(small, tmp_path / "padded", tp=tp)
    tokens = torch.randint(0, 40, (2, 17), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(logits(tmp_path / "padded", tokens), logits(small, tokens), rtol=1e-5, atol=1e-5)


def test_what_the_folder_says_and_holds(small: Path, tmp_path: Path) -> None:
    pad(small, tmp_path / "padded", tp=2)
    config = json.loads((tmp_path / "padded" / "config.json").read_text())
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (12, 4, HEAD)
    assert config["tie_word_embeddings"] is True
    assert not (tmp_path / "padded.partial").exists()
    assert AutoTokenizer.from_pretrained(tmp_path / "padded").get_vocab() == {"a": 0, "b": 1, "[UNK]": 2}
    weights = AutoModelForCausalLM.from_pretrained(tmp_path / "padded").state_dict()
    own = AutoModelForCausalLM.from_pretrained(small).state_dict()
    assert weights.keys() == own.keys()
    for layer in range(3):
        for name, heads, entry in (("q", 12, HEADS), ("k", 4, KV_HEADS), ("v", 4, KV_HEADS)):
            weight = weights[f"model.layers.{layer}.self_attn.{name}_proj.weight"]
            assert weight.shape == (heads * HEAD, WIDTH)
            assert torch.equal(weight[: entry * HEAD], own[f"model.layers.{layer}.self_attn.{name}_proj.weight"])
            assert not weight[entry * HEAD :].any()
        out = weights[f"model.layers.{layer}.self_attn.o_proj.weight"]
        assert out.shape == (WIDTH, 12 * HEAD)
        assert not out[:, HEADS * HEAD :].any()


def test_it_is_done_once(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "padded"
    monkeypatch.setattr("sys.argv", ["pad_heads", "--model", str(small), "--tp", "2", "--out", str(out)])
    assert pad_heads.main() == 0
    made = (out / "config.json").stat().st_mtime_ns
    assert pad_heads.main() == 0
    assert (out / "config.json").stat().st_mtime_ns == made


def test_no_model_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "padded"
    monkeypatch.setattr("sys.argv", ["pad_heads", "--model", str(tmp_path / "no"), "--tp", "2", "--out", str(out)])
    assert pad_heads.main() == 3
    assert "is no model's folder" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="the packaged model is not prepared: run these through nox -s tests")
def test_the_packaged_model_for_two_ranks(tmp_path: Path) -> None:
    pad(SMOLLM2, tmp_path / "padded", tp=2)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "padded")
    tokens = tokenizer("The capital of France is Paris, and the capital of", return_tensors="pt").input_ids
    padded, own = logits(tmp_path / "padded", tokens), logits(SMOLLM2, tokens)
    # The same sums with zeros among them, of logits that reach 27; on the CPU that it was written on no bit differed.
    torch.testing.assert_close(padded, own, rtol=1e-5, atol=1e-4)
    assert torch.equal(padded.argmax(-1), own.argmax(-1))
