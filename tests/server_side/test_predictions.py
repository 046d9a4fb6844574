"""The comparison of predictions, with a head of a few tokens in place of a model's; what is compared is exact."""

import json
from collections.abc import Callable
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sglang.srt.model_executor.forward_batch_info import ForwardMode
from torch import Tensor

from harness.sglang_plugin import predictions, vocabulary
from harness.sglang_plugin.policy import Policy, uniform
from harness.sglang_plugin.predictions import Predictions
from harness.sglang_plugin.settings import Settings
from harness.sglang_plugin.study_folder import hash_tokens, write_texts

HIDDEN, VOCABULARY = 8, 40
TEXTS = ((3, 1, 4, 1, 5, 9), (3, 2, 6), (7, 7, 7, 7))
HEAD = torch.randn(VOCABULARY, HIDDEN, generator=torch.Generator().manual_seed(0))
RUN = uniform(None)
KEEP, COMPARE = uniform(None, number=1, predictions="reference"), uniform(None, number=2, predictions="compare")


class Processor:
    """SGLang's LogitsProcessor, as far as it is asked; its head is rounded to bf16 unless fp32 is asked for."""

    config = SimpleNamespace(vocab_size=VOCABULARY)
    use_fp32_lm_head = do_tensor_parallel_all_gather = False
    use_attn_tp_group = do_tensor_parallel_all_gather_dp_attn = False

    def _get_logits(self, states: Tensor, head: Tensor, _metadata: object, *, use_logits_buffer: bool) -> Tensor:
        assert not use_logits_buffer
        logits = states @ head.T
        return logits if self.use_fp32_lm_head else logits.bfloat16()


def states(text: tuple[int, ...], noise: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(text))
    own, other = (torch.randn(len(text), HIDDEN, generator=generator) for _ in range(2))
    return own + noise * other


Prefill = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def other_server(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], Prefill]:
    """Make servers; each runs prefills of some texts under a policy and returns the lines that they leave."""
    monkeypatch.setattr(vocabulary, "LogitsMetadata", SimpleNamespace(from_forward_batch=lambda batch: batch))
    return server


@pytest.fixture
def prefill(other_server: Callable[[Settings], Prefill], tmp_path: Path) -> Prefill:
    """Make a study's server, which knows its texts."""
    write_texts(tmp_path, TEXTS)
    return other_server(Settings(dir=tmp_path))


def server(settings: Settings) -> Prefill:
    seen, file = Predictions(settings, settings.dir), settings.dir / "predictions.jsonl"
    settings.dir.mkdir(exist_ok=True)
    seen.start(0)
    processor = Processor()

    def run(
        policy: Policy,
        *texts: tuple[int, ...],
        noise: float = 0.0,
        prefix: int = 0,
        mode: ForwardMode = ForwardMode.EXTEND,
    ) -> list[dict[str, Any]]:
        before = len(file.read_text().splitlines()) if file.exists() else 0
        seen.under(policy)
        sent = [text[prefix:] for text in texts]
        batch = SimpleNamespace(
            forward_mode=mode,
            extend_seq_lens_cpu=[len(text) for text in sent],
            extend_prefix_lens_cpu=[prefix] * len(sent),
        )
        ids = torch.tensor([token for text in sent for token in text])
        hidden = torch.cat([states(text, noise)[prefix:] for text in texts])
        served = seen.hook(lambda *args: args[1:], processor, ids, hidden, HEAD, batch)
        # What is served is what SGLang makes of its own arguments.
        assert served[1] is hidden
        assert not processor.use_fp32_lm_head
        return [json.loads(line) for line in file.read_text().splitlines()[before:]] if file.exists() else []

    return run


def expected(text: tuple[int, ...], noise: float) -> dict[str, Tensor]:
    """The same in fp64, by the definition."""
    baseline, candidate = (
        torch.log_softmax(entry[:-1].double() @ HEAD.double().T, dim=-1)
        for entry in (states(text), states(text, noise))
    )
    following = torch.tensor(text[1:])
    rows = torch.arange(len(following))
    return {
        "kl": (baseline.exp() * (baseline - candidate)).sum(dim=-1),
        "baseline": baseline[rows, following],
        "candidate": candidate[rows, following],
        "same_top": baseline.argmax(dim=-1) == candidate.argmax(dim=-1),
        "baseline_top": baseline.argmax(dim=-1),
        "candidate_top": candidate.argmax(dim=-1),
    }


@pytest.mark.parametrize(("chunk", "cache"), [(2**26, 2**31), (2 * VOCABULARY, 2**31), (2 * VOCABULARY, 0)])
def test_each_text_of_a_prefill_is_compared_over_the_whole_vocabulary(
    prefill: Prefill, monkeypatch: pytest.MonkeyPatch, chunk: int, cache: int
) -> None:
    monkeypatch.setattr(predictions, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(vocabulary, "CACHED_ELEMENTS", chunk)
    monkeypatch.setattr(predictions, "CACHE_BYTES", cache)
    kept = prefill(KEEP, *TEXTS)
    assert kept == [{"policy": 1, "text": hash_tokens(text), "kept": len(text)} for text in TEXTS]
    # The second time from what was computed the first time, as far as that may be kept.
    for noise in (0.5, 0.1):
        lines = prefill(COMPARE, (8, 8), *TEXTS, noise=noise)
        assert [line["text"] for line in lines] == [hash_tokens(text) for text in TEXTS]
        for line, text in zip(lines, TEXTS, strict=True):
            assert (line["policy"], line["reference"]) == (2, 1)
            want = expected(text, noise)
            for name in ("kl", "baseline", "candidate"):
                assert line[name] == pytest.approx(want[name].tolist(), rel=1e-4, abs=1e-6)
            for name in ("same_top", "baseline_top", "candidate_top"):
                assert line[name] == want[name].tolist()
    for line in prefill(COMPARE, *TEXTS):
        assert line["kl"] == [0.0] * len(line["kl"])
        assert all(line["same_top"])


def test_what_was_not_prefilled_whole_is_said_and_not_measured(prefill: Prefill) -> None:
    (line,) = prefill(KEEP, TEXTS[0], prefix=2)
    assert line["text"] == hash_tokens(TEXTS[0])
    assert line["not_measured"] == "of its 6 tokens, 4 from token 2 on were prefilled by themselves"
    (line,) = prefill(COMPARE, TEXTS[1])
    assert line["not_measured"].startswith("no reference of it is kept: ")
    # A beginning, as a prefill in chunks has it.
    (line,) = prefill(COMPARE, TEXTS[2][:3])
    assert line["not_measured"] == "of its 4 tokens, 3 from token 0 on were prefilled by themselves"


def test_a_reference_of_another_model_is_refused(prefill: Prefill, tmp_path: Path) -> None:
    prefill(KEEP, TEXTS[0])
    file = tmp_path / "reference" / f"{hash_tokens(TEXTS[0])}.pt"
    torch.save({**torch.load(file), "hidden": states(TEXTS[0])[:, :4]}, file)
    (line,) = prefill(COMPARE, TEXTS[0])
    assert "another model" in line["not_measured"]


def test_what_is_no_number_is_said_and_of_whom(prefill: Prefill) -> None:
    prefill(KEEP, TEXTS[0])
    (line,) = prefill(COMPARE, TEXTS[0], noise=nan)
    assert line["no_numbers"]
    assert line["not_measured"] == "its predictions are no numbers from token 0 on"
    assert "kl" not in line
    prefill(KEEP, TEXTS[0], noise=nan)
    (line,) = prefill(COMPARE, TEXTS[0])
    assert not line["no_numbers"]
    assert line["not_measured"] == "the reference's predictions are no numbers from token 0 on"


def test_of_a_text_of_one_token_nothing_is_predicted(prefill: Prefill, tmp_path: Path) -> None:
    write_texts(tmp_path, [(5,)])
    prefill(KEEP, (5,))
    assert prefill(COMPARE, (5,)) == [{"policy": 2, "text": hash_tokens((5,)), "reference": 1}]


def test_decode_other_prompts_and_other_policies_leave_nothing(prefill: Prefill) -> None:
    assert prefill(KEEP, TEXTS[0], mode=ForwardMode.DECODE) == []
    assert prefill(KEEP, (11, 12, 13)) == []
    assert prefill(uniform(None, number=3), TEXTS[0]) == []


def test_a_new_reference_takes_the_place_of_the_old_one(prefill: Prefill) -> None:
    prefill(KEEP, TEXTS[0])
    prefill(COMPARE, TEXTS[0])
    prefill(uniform(None, number=7, predictions="reference"), TEXTS[0], noise=0.3)
    (line,) = prefill(COMPARE, TEXTS[0], noise=0.3)
    assert line["reference"] == 7
    assert line["kl"] == [0.0] * (len(TEXTS[0]) - 1)


def test_a_server_compares_with_what_another_kept(
    other_server: Callable[[Settings], Prefill], tmp_path: Path
) -> None:
    """As in a run: what is done is in the settings, under one policy, and the texts come while the server is up."""
    baseline = other_server(Settings(dir=tmp_path / "baseline", reference=tmp_path / "baseline"))
    compressed = other_server(Settings(dir=tmp_path / "compressed", reference=tmp_path / "baseline"))
    assert baseline(RUN, TEXTS[0]) == []
    for folder in ("baseline", "compressed"):
        write_texts(tmp_path / folder, TEXTS)
    assert [line["kept"] for line in baseline(RUN, *TEXTS)] == [len(text) for text in TEXTS]
    lines = compressed(RUN, *TEXTS, noise=0.5)
    for line, text in zip(lines, TEXTS, strict=True):
        assert line["kl"] == pytest.approx(expected(text, 0.5)["kl"].tolist(), rel=1e-4, abs=1e-6)
