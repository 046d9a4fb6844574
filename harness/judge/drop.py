"""The test of a drop against its margin, of one task or of all pooled: bounds and words of what decides."""

from dataclasses import dataclass
from math import ceil

from harness.judge.verdict import Judged, Verdict
from harness.stats import ALPHA, PairedCounts, questions_to_decide
from harness.stats.exact import Side, exact_drop_p_values
from harness.stats.paired import DECIDES
from harness.stats.sequential import Design, decide, make_design, repeated_bounds


@dataclass(frozen=True, kw_only=True)
class Drop:
    """The test of one drop against its margin.

    Attributes:
        counts: The paired table.
        max_drop: The margin, 0 to 1.
        low: Lower bound of the true difference, at 1 - alpha, over all looks.
        high: Upper bound of it, at 1 - fail_alpha, over all looks.
        alpha: Error of a PASS.
        fail_alpha: Error of a FAIL: the gate's part of the run's budget.
        looks: How often one may look.
        decision: PASS where the lower bound is above the margin, FAIL where the upper one is below it, or None.
    """

    counts: PairedCounts
    max_drop: float
    low: float
    high: float
    alpha: float
    fail_alpha: float
    looks: int
    decision: Side | None

    @property
    def pass_words(self) -> str:
        """How sure the lower bound is."""
        return sure(self.alpha, self.looks)

    @property
    def fail_words(self) -> str:
        """How sure the upper bound is."""
        return sure(self.fail_alpha, self.looks)


def check_drop(
    counts: PairedCounts, max_drop: float, *, fail_alpha: float = ALPHA, design: Design | None = None
) -> Drop:
    """Test one drop.

    Args:
        counts: The paired table.
        max_drop: The margin, 0 to 1.
        fail_alpha: The gate's part of the error budget, where there is no design.
        design: The looks of a task that may end early; None for one that is asked to its end.
    """
    # Without a question, or between two looks, nothing is decided: what is missing is an ERROR elsewhere.
    if counts.n == 0 or (design is not None and counts.n not in design.looks):
        low, high, decision = -1.0, 1.0, None
    else:
        design = design or make_design(counts.n, max_drop, fail_alpha=fail_alpha, looks=(counts.n,))
        low, high = repeated_bounds(design, counts)
        decision = decide(design, counts)
    return Drop(
        counts=counts,
        max_drop=max_drop,
        low=low,
        high=high,
        alpha=design.alpha if design else ALPHA,
        fail_alpha=design.fail_alpha if design else fail_alpha,
        looks=len(design.looks) if design else 1,
        decision=decision,
    )


def judge_drop(name: str, drop: Drop) -> Judged:
    """Judge a drop in words: PASS, FAIL, or INCONCLUSIVE with what it leans to and what would decide."""
    counts = drop.counts
    together = f"; they count as {counts.n / counts.design_effect:.0f}" if counts.design_effect > 1 else ""
    said = (
        f"{name}: accuracy changed by {points(counts.delta)} on {counts.n} paired questions ({counts.baseline_only} "
        f"lost, {counts.compressed_only} won{together}), allowed drop {drop.max_drop * 100:g} points"
    )
    if drop.decision == "PASS":
        text = f"{said}: the true change is above {points(drop.low)} ({drop.pass_words})"
        return Judged(verdict=Verdict.PASS, reasons=(text,))
    if drop.decision == "FAIL":
        text = f"{said}: the true change is below {points(drop.high)} ({drop.fail_words})"
        return Judged(verdict=Verdict.FAIL, reasons=(text,))
    text = (
        f"{said}: the true change lies above {points(drop.low)} ({drop.pass_words}) and below {points(drop.high)} "
        f"({drop.fail_words}), which decides nothing; {leaning(drop)}; {more_questions(drop)}"
    )
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))


def leaning(drop: Drop) -> str:
    """Say which way a test leans that decides nothing, with the p-value of the hypothesis that it leans against."""
    p = exact_drop_p_values(drop.counts, drop.max_drop)
    if p.passes < p.fails:
        return f"it leans to PASS (p = {p.passes:.2g}, needed {drop.alpha:.2g})"
    if p.fails < p.passes:
        return f"it leans to FAIL (p = {p.fails:.2g}, needed {drop.fail_alpha:.2g})"
    return "it leans to neither side"


def more_questions(drop: Drop) -> str:
    """Say how many more questions would decide, and with what chance."""
    counts = drop.counts
    needed = questions_to_decide(counts, drop.max_drop, alpha=drop.alpha, fail_alpha=drop.fail_alpha)
    if needed is None or needed <= counts.n:
        return "more questions would decide"
    more = needed - counts.n
    # Two digits: the estimate is no better.
    digits = 10 ** max(len(str(more)) - 2, 0)
    return (
        f"about {ceil(more / digits) * digits} more questions would decide with a chance of {DECIDES:.0%}, if the "
        "shares seen are the true ones"
    )


def sure(alpha: float, looks: int = 1) -> str:
    """Say how sure a bound of this error is, and over how many looks."""
    return f"{(1 - alpha) * 100:.4g}% sure" + (f" over {looks} looks" if looks > 1 else "")


def points(share: float) -> str:
    """Return a difference of shares in points, in words."""
    return f"{share * 100:+.1f} points"
