"""Turns numbers into PASS, FAIL, INCONCLUSIVE or ERROR, each with its reasons. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.config.thresholds import Threshold
from harness.judge.drop import Drop
from harness.stats import ALPHA, PairedCounts, questions_to_decide
from harness.stats.flips import Excess
from harness.stats.proportion import chance_to_pass_floor, share_bounds


class Verdict(StrEnum):
    """What a run, or a task of it, came to. REPORTED is a task's that nobody judges."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    REPORTED = "REPORTED"


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.ERROR: 3}
# Worst first. What could not be measured outweighs what was found: a FAIL beside an ERROR may be its effect. It is
# listed all the same.
_SEVERITY = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


@dataclass(frozen=True, kw_only=True)
class TaskNumbers:
    """What the verdict on one task rests on.

    Attributes:
        name: The task.
        counts: The paired table.
        drop: The test of the drop; None where the threshold has no `max_drop`.
        flips: Questions that turned from right to wrong or back, and what of it the baseline does by itself.
        failed: Requests that failed, in any arm.
        truncated: Share of the compressed arm's answers that the token cap cut, None for scored choices.
        faults: Why the arms cannot be compared.
    """

    name: str
    counts: PairedCounts
    drop: Drop | None = None
    flips: Excess | None = None
    failed: int = 0
    truncated: float | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict and why, in words that stand alone.

    Attributes:
        verdict: The verdict.
        reasons: One sentence each; never empty.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = field(default=())


def judge_task(numbers: TaskNumbers, threshold: Threshold) -> Judged:
    """Judge one task.

    The floor is read by upstream's point rule on the compressed arm's accuracy, or by its exact bounds. The drop
    is a non-inferiority test on paired questions with both errors held at 5 %: PASS where it is shown that
    compression costs less than max_drop, FAIL where it is shown to cost more, INCONCLUSIVE between.

    Args:
        numbers: What was measured.
        threshold: What is accepted.
    """
    name = numbers.name
    if numbers.faults:
        return Judged(verdict=Verdict.ERROR, reasons=tuple(f"{name}: {fault}" for fault in numbers.faults))
    if numbers.failed:
        requests = "request" if numbers.failed == 1 else "requests"
        text = f"{name}: {numbers.failed} {requests} failed; a failed request is not a wrong answer"
        return Judged(verdict=Verdict.ERROR, reasons=(text,))
    if numbers.counts.n == 0:
        return Judged(verdict=Verdict.ERROR, reasons=(f"{name}: no question was answered in both arms",))
    if threshold.report_only:
        return Judged(verdict=Verdict.REPORTED, reasons=(f"{name}: reported only ({threshold.source})",))
    parts = [
        judged
        for judged in (
            _judge_floor(numbers, threshold),
            _judge_drop(numbers, threshold),
            _judge_flips(numbers, threshold),
            _judge_truncation(numbers, threshold),
        )
        if judged is not None
    ]
    return worst(parts)


def judge_run(tasks: Iterable[Judged], errors: Sequence[str]) -> Judged:
    """Judge the whole run: the worst of its tasks, or ERROR where something could not be proven.

    Args:
        tasks: The tasks' verdicts.
        errors: What makes the run as a whole unfit to be judged: unproven compression, a server that died.
    """
    of_tasks = list(tasks)
    judged = [task for task in of_tasks if task.verdict is not Verdict.REPORTED]
    if errors or any(task.verdict is Verdict.ERROR for task in judged):
        # Harm that was found is told, though the ERROR may be its cause.
        beside = [
            f"beside that, FAIL: {why}" for task in judged if task.verdict is Verdict.FAIL for why in task.reasons
        ]
        unmeasured = [why for task in judged if task.verdict is Verdict.ERROR for why in task.reasons]
        return Judged(verdict=Verdict.ERROR, reasons=(*errors, *unmeasured, *beside))
    if not judged:
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=("no task was judged: all are report_only",))
    return worst(judged)


def worst(parts: Sequence[Judged]) -> Judged:
    """Return the worst verdict with the reasons of all parts that share it."""
    verdict = min((part.verdict for part in parts), key=_SEVERITY.index)
    reasons = tuple(reason for part in parts if part.verdict is verdict for reason in part.reasons)
    return Judged(verdict=verdict, reasons=reasons)


def _judge_floor(numbers: TaskNumbers, threshold: Threshold) -> Judged | None:
    if threshold.floor is None:
        return None
    counts = numbers.counts
    right = counts.both_right + counts.compressed_only
    accuracy = right / counts.n
    said = f"{numbers.name}: compressed accuracy {accuracy:.4f} of {counts.n} questions, floor {threshold.floor:g}"
    if counts.n < threshold.min_questions:
        too_few = f"{said}, which holds for {threshold.min_questions} questions or more: too little data"
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(too_few,))
    if threshold.floor_rule == "confident":
        return _judge_floor_confidently(said, right, counts.n, threshold.floor)
    reached = accuracy >= threshold.floor
    chance = chance_to_pass_floor(counts.n, threshold.floor)
    text = (
        f"{said} (point rule): {'reached' if reached else 'below it'}; a model exactly at the floor would pass "
        f"{chance:.0%} of such runs"
    )
    return Judged(verdict=Verdict.PASS if reached else Verdict.FAIL, reasons=(text,))


def _judge_floor_confidently(said: str, right: int, n: int, floor: float) -> Judged:
    low, high = share_bounds(right, n, ALPHA)
    between = f"{said} (confident rule): true accuracy {{}} ({1 - ALPHA:.0%} sure)"
    if low >= floor:
        return Judged(verdict=Verdict.PASS, reasons=(between.format(f"above {low:.4f}"),))
    if high < floor:
        return Judged(verdict=Verdict.FAIL, reasons=(between.format(f"below {high:.4f}"),))
    text = f"{said} (confident rule): the true accuracy lies between {low:.4f} and {high:.4f}, which decides nothing"
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))


def _judge_drop(numbers: TaskNumbers, threshold: Threshold) -> Judged | None:
    if threshold.max_drop is None or numbers.drop is None:
        return None
    counts, margin, drop = numbers.counts, threshold.max_drop, numbers.drop
    sure = f"{1 - ALPHA:.0%} sure{drop.because}"
    said = (
        f"{numbers.name}: accuracy changed by {_points(counts.delta)} on {counts.n} paired questions "
        f"({counts.baseline_only} lost, {counts.compressed_only} won), allowed drop {margin * 100:g} points"
    )
    if counts.n < threshold.min_questions:
        too_few = f"{said}; decided from {threshold.min_questions} questions on: too little data"
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(too_few,))
    if drop.passes:
        text = f"{said}: the true change is above {_points(drop.low)} ({sure})"
        return Judged(verdict=Verdict.PASS, reasons=(text,))
    if drop.fails:
        text = f"{said}: the true change is below {_points(drop.high)} ({sure})"
        return Judged(verdict=Verdict.FAIL, reasons=(text,))
    needed = questions_to_decide(counts, margin)
    more = (
        f"about {needed - counts.n} more questions would decide"
        if needed and needed > counts.n
        else "more questions would decide"
    )
    text = (
        f"{said}: the true change lies between {_points(drop.low)} and {_points(drop.high)}{drop.because}, which "
        f"decides nothing; {more}"
    )
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))


def _judge_flips(numbers: TaskNumbers, threshold: Threshold) -> Judged | None:
    if threshold.max_flips is None or numbers.flips is None:
        return None
    flips = numbers.flips
    itself = "" if flips.noise_share is None else f", {flips.noise_share:.1%} by itself"
    said = (
        f"{numbers.name}: {flips.share:.1%} of {numbers.counts.n} questions turned from right to wrong or "
        f"back{itself}, allowed {threshold.max_flips:.1%}"
    )
    if flips.high <= threshold.max_flips:
        text = f"{said}: the true share is below {flips.high:.1%} ({1 - ALPHA:.0%} sure)"
        return Judged(verdict=Verdict.PASS, reasons=(text,))
    if flips.low > threshold.max_flips:
        text = f"{said}: the true share is above {flips.low:.1%} ({1 - ALPHA:.0%} sure)"
        return Judged(verdict=Verdict.FAIL, reasons=(text,))
    text = f"{said}: the true share lies between {flips.low:.1%} and {flips.high:.1%}, which decides nothing"
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))


def _judge_truncation(numbers: TaskNumbers, threshold: Threshold) -> Judged | None:
    if threshold.max_truncated is None or numbers.truncated is None:
        return None
    said = (
        f"{numbers.name}: {numbers.truncated:.1%} of the compressed arm's answers ended at the token cap, "
        f"allowed {threshold.max_truncated:.1%}"
    )
    verdict = Verdict.FAIL if numbers.truncated > threshold.max_truncated else Verdict.PASS
    return Judged(verdict=verdict, reasons=(said,))


def _points(share: float) -> str:
    return f"{share * 100:+.1f} points"
