"""What a policy does to the model, from its measurements. Pure functions."""

from collections.abc import Collection
from statistics import fmean

from harness.judge.pairing import changed, flipped, margin_shifts, pair
from harness.judge.prediction_shift import PredictionShift, by_position, moves, summarise
from harness.stats.proportion import share_bounds
from harness.stats.shift import Shift, shift
from harness.strict import Strict
from harness.study.records import Measured


class Scored(Strict):
    """What a policy does to the scored task.

    Attributes:
        questions: Questions answered under both policies.
        flips: Questions that turned from right to wrong or back.
        low: Exact one-sided 95 % lower bound of the share that turns.
        high: The upper one.
        changed: Questions whose answer changed.
        margins: How the margins of the right answers moved, in nats; None for fewer than two.
    """

    questions: int
    flips: int
    low: float
    high: float
    changed: int
    margins: Shift | None


class Figures(Strict):
    """What a policy does.

    Attributes:
        texts: How many texts.
        overall: How far their predictions moved.
        positions: The same for token 0, the first tokens after it, and the rest.
        scored: What it does to the scored task; None where that was not asked.
    """

    texts: int
    overall: PredictionShift
    positions: dict[str, PredictionShift]
    scored: Scored | None


def figures(measured: Measured, plain: Measured) -> Figures:
    """Return what a policy does.

    Args:
        measured: Its measurements.
        plain: Those of the plain sums, measured again: the answers to compare with.
    """
    moved = moves(measured.texts)
    return Figures(
        texts=len(measured.texts),
        overall=summarise(moved),
        positions=by_position(moved),
        scored=scored(measured, plain),
    )


def kl_of(measured: Measured, *, texts: Collection[str] | None = None, bound: str = "mean") -> float:
    """Return the KL divergence of a policy's predictions from the uncompressed ones, in nats a token.

    Args:
        measured: Its measurements.
        texts: Of these texts alone; None for all.
        bound: `mean`, `low` or `high`: one-sided bounds of the mean, 95 % each.
    """
    chosen = [text for text in measured.texts if texts is None or text.text in texts]
    if bound != "mean":
        return float(getattr(summarise(moves(chosen)).kl, bound))
    return fmean(value for text in chosen for value in text.kl)


def scored(measured: Measured, plain: Measured) -> Scored | None:
    """Return what a policy does to the scored task; None where that was not asked.

    Args:
        measured: Its measurements.
        plain: Those of the plain sums.
    """
    if not measured.samples:
        return None
    pairs = pair(plain.samples, measured.samples).pairs
    flips = sum(map(flipped, pairs))
    low, high = share_bounds(flips, len(pairs))
    return Scored(
        questions=len(pairs),
        flips=flips,
        low=low,
        high=high,
        changed=sum(map(changed, pairs)),
        margins=shift(margin_shifts(pairs)),
    )
