"""One task's gates: drop, floor, flips and truncation, and what must hold before they may judge. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.config.thresholds import Threshold
from harness.judge.baseline import cannot_tell
from harness.judge.drop import Drop, judge_drop, sure
from harness.judge.floors import judge_floor
from harness.judge.verdict import Judged, Verdict, worst
from harness.stats import ALPHA, PairedCounts
from harness.stats.flips import Excess
from harness.stats.proportion import share_bounds


@dataclass(frozen=True, kw_only=True)
class TaskNumbers:
    """What the verdict on one task rests on.

    Attributes:
        name: The task.
        counts: The paired table.
        drop: The test of the drop; None where the threshold has no `max_drop`.
        chance: What scores without looking at the question; 0 for generated answers.
        constant: The answer that scores it, or None.
        flips: Questions that turned from right to wrong or back, and what of it the baseline does by itself; its
            lower bound at the level of FAIL, its upper one at that of PASS.
        floor_right: Right answers of the compressed arm on the floor's questions; None: as on all questions.
        floor_n: Those questions.
        failed: Requests that failed, in any arm.
        cut: Answers of the compressed arm that the token cap cut, None for scored choices.
        generated: Answers of the compressed arm, cut or not.
        faults: Why the arms cannot be compared.
        again: By what the baseline, started again, differs from itself.
    """

    name: str
    counts: PairedCounts
    drop: Drop | None = None
    chance: float = 0.0
    constant: str | None = None
    flips: Excess | None = None
    floor_right: int | None = None
    floor_n: int = 0
    failed: int = 0
    cut: int | None = None
    generated: int = 0
    faults: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def baseline_right(self) -> int:
        """Right answers of the baseline."""
        return self.counts.both_right + self.counts.baseline_only

    @property
    def right(self) -> int:
        """Right answers of the compressed arm."""
        return self.counts.both_right + self.counts.compressed_only


@dataclass(frozen=True)
class Levels:
    """The parts of the error budget that a task's gates have, by their key in thresholds.yaml; ALPHA where unsaid."""

    by_key: Mapping[str, float] = field(default_factory=dict)

    def of(self, key: str) -> float:
        """Return one gate's part."""
        return self.by_key.get(key, ALPHA)


def levels_of(task: str, budget: Mapping[str, float]) -> Levels:
    """Return one task's parts of a run's budget (`error_budget.fail_levels`)."""
    return Levels(
        {name.removeprefix(f"{task}."): part for name, part in budget.items() if name.startswith(f"{task}.")}
    )


def judge_task(numbers: TaskNumbers, threshold: Threshold, levels: Levels = Levels()) -> Judged:
    """Judge one task.

    The drop is a non-inferiority test on paired questions: PASS where it is shown, with an error of 5 %, that
    compression costs less than max_drop, FAIL where it is shown, with the gate's part of the budget, to cost more,
    INCONCLUSIVE between, and wherever the baseline is no measure.

    Args:
        numbers: What was measured.
        threshold: What is accepted.
        levels: The gates' parts of the error budget.
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
    return unless_unsteady(name, worst(list(_gates(numbers, threshold, levels).values())), numbers.again)


def judge_gates(numbers: TaskNumbers, threshold: Threshold, levels: Levels = Levels()) -> dict[str, Judged]:
    """Judge each of a task's gates by itself; arguments as for `judge_task`.

    Returns:
        What each came to, by its key in thresholds.yaml; none where the task cannot be, or is not, judged.
    """
    if numbers.faults or numbers.failed or numbers.counts.n == 0 or threshold.report_only:
        return {}
    found = _gates(numbers, threshold, levels)
    return {key: unless_unsteady(numbers.name, judged, numbers.again) for key, judged in found.items()}


def _gates(numbers: TaskNumbers, threshold: Threshold, levels: Levels) -> dict[str, Judged]:
    found = {
        "floor": _judge_floor(numbers, threshold, levels.of("floor")),
        "max_drop": _judge_drop(numbers, threshold),
        "max_flips": _judge_flips(numbers, threshold, levels.of("max_flips")),
        "max_truncated": _judge_truncation(numbers, threshold, levels.of("max_truncated")),
    }
    return {key: judged for key, judged in found.items() if judged is not None}


def unless_unsteady(name: str, judged: Judged, again: tuple[str, ...]) -> Judged:
    """Return a verdict, or INCONCLUSIVE where the baseline, started again, differs from itself."""
    if not again or judged.verdict is Verdict.ERROR:
        return judged
    text = (
        f"{name}: the baseline is no measure of compression: {'; '.join(again)}. Without that it would be "
        f"{judged.verdict}: {' / '.join(judged.reasons)}. Make the server deterministic "
        "(--enable-deterministic-inference where the device has it), or run several times and compare"
    )
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))


def why_no_measure(numbers: TaskNumbers, threshold: Threshold) -> str | None:
    """Say why a task cannot judge a drop; None where it can."""
    if threshold.max_drop is None or numbers.counts.n == 0:
        return None
    return cannot_tell(
        numbers.baseline_right,
        numbers.counts.n,
        chance=numbers.chance,
        max_drop=threshold.max_drop,
        constant=numbers.constant,
        looks=numbers.drop.looks if numbers.drop else 1,
    )


def _judge_floor(numbers: TaskNumbers, threshold: Threshold, fail_alpha: float) -> Judged | None:
    if threshold.floor is None:
        return None
    alone = numbers.floor_right is None
    return judge_floor(
        numbers.name,
        threshold,
        right=numbers.right if numbers.floor_right is None else numbers.floor_right,
        n=numbers.counts.n if alone else numbers.floor_n,
        all_right=numbers.right,
        all_n=numbers.counts.n,
        fail_alpha=fail_alpha,
    )


def _judge_drop(numbers: TaskNumbers, threshold: Threshold) -> Judged | None:
    if threshold.max_drop is None or numbers.drop is None:
        return None
    judged = judge_drop(numbers.name, numbers.drop)
    if numbers.counts.n < threshold.min_questions:
        too_few = (
            f"{numbers.name}: {numbers.counts.n} questions; the drop is decided from {threshold.min_questions} "
            "questions on: too little data"
        )
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(too_few,))
    if (why := why_no_measure(numbers, threshold)) is not None:
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(f"{numbers.name}: {why}",))
    return judged


def _judge_flips(numbers: TaskNumbers, threshold: Threshold, fail_alpha: float) -> Judged | None:
    if threshold.max_flips is None or numbers.flips is None:
        return None
    flips = numbers.flips
    itself = "" if flips.noise_share is None else f", {flips.noise_share:.1%} by itself"
    said = (
        f"{numbers.name}: {flips.share:.1%} of {numbers.counts.n} questions turned from right to wrong or "
        f"back{itself}, allowed {threshold.max_flips:.1%}"
    )
    return _judge_share(said, flips.low, flips.high, threshold.max_flips, fail_alpha)


def _judge_truncation(numbers: TaskNumbers, threshold: Threshold, fail_alpha: float) -> Judged | None:
    if threshold.max_truncated is None or numbers.cut is None or not numbers.generated:
        return None
    said = (
        f"{numbers.name}: {numbers.cut / numbers.generated:.1%} of the compressed arm's {numbers.generated} answers "
        f"ended at the token cap, allowed {threshold.max_truncated:.1%}"
    )
    low, _ = share_bounds(numbers.cut, numbers.generated, fail_alpha)
    _, high = share_bounds(numbers.cut, numbers.generated, ALPHA)
    return _judge_share(said, low, high, threshold.max_truncated, fail_alpha)


def _judge_share(said: str, low: float, high: float, limit: float, fail_alpha: float) -> Judged:
    """Judge a share that must not exceed a limit by its bounds: the upper at ALPHA, the lower at `fail_alpha`."""
    if high <= limit:
        return Judged(verdict=Verdict.PASS, reasons=(f"{said}: the true share is below {high:.1%} ({sure(ALPHA)})",))
    if low > limit:
        text = f"{said}: the true share is above {low:.1%} ({sure(fail_alpha)})"
        return Judged(verdict=Verdict.FAIL, reasons=(text,))
    text = (
        f"{said}: the true share lies above {low:.1%} ({sure(fail_alpha)}) and below {high:.1%} ({sure(ALPHA)}), "
        "which decides nothing"
    )
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))
