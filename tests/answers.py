"""Answers and predictions of arms that nobody asked."""

from collections.abc import Collection, Iterable
from math import exp, log
from pathlib import Path
from typing import Any

from harness.records.predictions import CompareLine, TextRecord
from harness.records.samples import Sample, write_samples


def make_sample(doc_id: int = 0, *, right: bool = True, **changed: Any) -> Sample:
    """Return a generated answer of gsm8k."""
    usual: dict[str, Any] = {
        "task": "gsm8k",
        "filter": "last-number",
        "doc_id": doc_id,
        "row": doc_id,
        "doc_hash": f"document {doc_id}",
        "prompt_hash": f"prompt {doc_id}",
        "prompt_tokens": 7,
        "first_tokens": [1, 2, 3],
        "target": "5",
        "answer": "5" if right else "6",
        "right": right,
        "text": f" it is {5 if right else 6}",
        "generated_tokens": 4,
        "finish_reason": "stop",
    }
    return Sample(**{**usual, **changed})


def make_choice(doc_id: int = 0, *, right: bool = True, **changed: Any) -> Sample:
    """Return a scored answer of boolq; the right one is `yes` and `no` by turns."""
    target, other = ("yes", "no") if doc_id % 2 == 0 else ("no", "yes")
    said = target if right else other
    usual: dict[str, Any] = {
        "task": "boolq",
        "filter": "none",
        "target": target,
        "answer": said,
        "choices": ["no", "yes"],
        "logprobs": [-2.0, -1.0] if said == "yes" else [-1.0, -2.0],
        "text": None,
        "generated_tokens": None,
        "finish_reason": None,
    }
    return make_sample(doc_id, right=right, **{**usual, **changed})


def make_text(name: str = "boolq/0", predictions: int = 3, **changed: Any) -> TextRecord:
    """Return a text that was read: token 100, then 1, 2 and so on."""
    usual: dict[str, Any] = {
        "text": name,
        "text_hash": f"hash of {name}",
        "token_hash": f"hash of {name}'s tokens",
        "tokens": [100, *range(1, predictions + 1)],
    }
    return TextRecord(**{**usual, **changed})


def make_line(text: TextRecord, *likely: float, changed: Collection[int] = ()) -> CompareLine:
    """Return what the other arm's server writes of a text of `make_text`.

    Args:
        text: The text.
        likely: The probability of the token that follows, in each prediction, or once for all; 0.6 in the baseline.
            Another token has what is left.
        changed: The predictions that find another token most likely.
    """
    count = len(text.tokens) - 1
    logprobs = list(map(log, likely * (count if len(likely) == 1 else 1) or (0.6,) * count))
    return CompareLine(
        policy=0,
        text=text.token_hash,
        reference=0,
        kl=[binary_kl(log(0.6), logprob) for logprob in logprobs],
        baseline=[log(0.6)] * count,
        candidate=logprobs,
        same_top=[position not in changed for position in range(count)],
        baseline_top=[1] * count,
        candidate_top=[2 if position in changed else 1 for position in range(count)],
    )


def binary_kl(p: float, q: float) -> float:
    """Return the KL divergence between two predictions of two tokens, from the first one's log-probabilities."""
    return exp(p) * (p - q) + (1 - exp(p)) * log((1 - exp(p)) / (1 - exp(q)))


def failed(sample: Sample) -> Sample:
    """Return the sample as it is when its request failed."""
    nothing = {"answer": None, "right": None, "text": None, "finish_reason": None, "generated_tokens": None}
    return sample.model_copy(update={**nothing, "choices": None, "logprobs": None, "error": "HTTP 500"})


def rewrite_samples(file: Path, samples: Iterable[Sample]) -> None:
    """Replace a task's samples, which the harness itself only adds to."""
    file.unlink()
    write_samples(file, samples)


def boolq(*wrong: int) -> list[Sample]:
    """Return all answers of the default suite's boolq."""
    return [make_choice(number, right=number not in wrong) for number in range(128)]


def gsm8k(*wrong: int) -> list[Sample]:
    """Return all answers of the default suite's gsm8k."""
    return [make_sample(number, right=number not in wrong) for number in range(16)]
