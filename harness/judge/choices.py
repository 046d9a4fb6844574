"""Scored choices: what always saying one thing would score, and whether all answers shift to one side."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from harness.judge.pairing import Pair
from harness.records.samples import Sample
from harness.stats.shift import Shift, shift
from harness.strict import Strict

TWO = 2


class Choices(Strict):
    """The choices of one task, in the order in which they are scored.

    Attributes:
        names: What they are called; `choice 1` and so on where they differ from question to question.
        right: Share of the questions whose right answer each is.
        baseline: Share of the questions that the baseline answers with each.
        compressed: The same of the compressed arm.
        baseline_balanced: The baseline's balanced accuracy: the mean of its accuracies by class (right answer).
        compressed_balanced: The compressed arm's.
        towards_last: Of two choices: how logp(last) - logp(first) changed, in nats; None for more.
    """

    names: list[str]
    right: list[float]
    baseline: list[float]
    compressed: list[float]
    baseline_balanced: float
    compressed_balanced: float
    towards_last: Shift | None

    @property
    def chance(self) -> float:
        """What always giving the same answer scores at best: the larger class's share."""
        return max(self.right)


def summarise_choices(pairs: Sequence[Pair]) -> Choices | None:
    """Summarise the choices of a task's pairs; None for generated answers, and where there is no pair."""
    scored = [pair for pair in pairs if pair.baseline.choices and pair.compressed.choices]
    if not scored:
        return None
    lists = {tuple(pair.baseline.choices or ()) for pair in scored}
    count = max(map(len, lists))
    names = list(lists.pop()) if len(lists) == 1 else [f"choice {number}" for number in range(1, count + 1)]
    right = [_right(pair.baseline) for pair in scored]
    return Choices(
        names=names,
        right=_shares(right, count),
        baseline=_shares([_given(pair.baseline) for pair in scored], count),
        compressed=_shares([_given(pair.compressed) for pair in scored], count),
        baseline_balanced=_balanced(right, [bool(pair.baseline.right) for pair in scored]),
        compressed_balanced=_balanced(right, [bool(pair.compressed.right) for pair in scored]),
        towards_last=shift([_towards_last(pair.compressed) - _towards_last(pair.baseline) for pair in scored])
        if count == TWO
        else None,
    )


def _right(sample: Sample) -> int:
    return (sample.choices or []).index(sample.target)


def _given(sample: Sample) -> int:
    return (sample.choices or []).index(sample.answer or "")


def _shares(chosen: Sequence[int], count: int) -> list[float]:
    times = Counter(chosen)
    return [times[choice] / len(chosen) for choice in range(count)]


def _balanced(classes: Sequence[int], right: Sequence[bool]) -> float:
    by_class = {
        one: [hit for its, hit in zip(classes, right, strict=True) if its == one] for one in sorted(set(classes))
    }
    return fmean(fmean(hits) for hits in by_class.values())


def _towards_last(sample: Sample) -> float:
    first, last = sample.logprobs or (0.0, 0.0)
    return last - first
