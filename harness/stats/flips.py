"""Answers that changed, against those that change by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.stats.exact import SIDES, critical_score
from harness.stats.paired import ALPHA, PairedCounts, paired_bounds, score_bounds
from harness.stats.proportion import share_bounds


@dataclass(frozen=True, kw_only=True)
class Excess:
    """Share of changed answers beyond the noise floor.

    Attributes:
        share: Of the questions, those whose answer changed under compression.
        noise_share: Those whose answer changed between two runs of the baseline; None where it ran once.
        excess: The difference, `share` where there is no noise floor.
        low: Lower bound of the excess, one-sided.
        high: Upper bound of the excess, one-sided.
    """

    share: float
    noise_share: float | None
    excess: float
    low: float
    high: float


def excess_flips(
    flipped: Sequence[bool],
    flipped_again: Sequence[bool] | None,
    alpha: float = ALPHA,
    *,
    accepted: float | None = None,
) -> Excess:
    """Compare the questions that flipped under compression with those that flip by themselves.

    Whether a question flipped is a paired yes or no, so that the bounds are those of paired accuracies; without
    a noise floor they are the exact ones of the share.

    Args:
        flipped: One a question: did the compressed arm answer otherwise than the baseline?
        flipped_again: The same of the baseline run again, in the same order; None where it did not run.
        alpha: Error of each bound.
        accepted: The excess that will be judged; see `excess_of`.

    Raises:
        ValueError: The two are not equally long.
    """
    n = len(flipped)
    share = sum(flipped) / n if n else 0.0
    if flipped_again is None:
        low, high = share_bounds(sum(flipped), n, alpha)
        return Excess(share=share, noise_share=None, excess=share, low=low, high=high)
    if len(flipped_again) != n:
        raise ValueError(f"{n} flips of the compressed arm, {len(flipped_again)} of the baseline run again")
    pairs = list(zip(flipped, flipped_again, strict=True))
    counts = PairedCounts(
        both_right=sum(now and again for now, again in pairs),
        baseline_only=sum(again and not now for now, again in pairs),
        compressed_only=sum(now and not again for now, again in pairs),
        both_wrong=sum(not now and not again for now, again in pairs),
    )
    return excess_of(counts, alpha, accepted=accepted)


def excess_of(counts: PairedCounts, alpha: float = ALPHA, *, accepted: float | None = None) -> Excess:
    """Return the same from a table in which "right" means flipped, and the baseline is its second run.

    Args:
        counts: The table.
        alpha: Error of each bound.
        accepted: The excess that will be judged, 0 to 1: the bounds then err in no more than alpha of runs at it,
            also where few answers change (`exact`). None: the score's bounds.
    """
    if accepted is None or counts.n == 0:
        low, high = paired_bounds(counts, alpha)
    else:
        # More flips than accepted are a drop of "not flipped": the arms change places, and so do the bounds.
        swapped = replace(counts, baseline_only=counts.compressed_only, compressed_only=counts.baseline_only)
        fewer, more = (critical_score(counts.n, accepted, alpha, side) for side in SIDES)
        least, most = score_bounds(swapped, fewer, more)
        low, high = -most, -least
    questions = max(counts.n, 1)
    return Excess(
        share=(counts.both_right + counts.compressed_only) / questions,
        noise_share=(counts.both_right + counts.baseline_only) / questions,
        excess=counts.delta,
        low=low,
        high=high,
    )
