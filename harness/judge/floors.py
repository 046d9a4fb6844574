"""Floors: by upstream's rule, by the number itself, or by what the number says for sure."""

from harness.config.thresholds import Threshold
from harness.judge.drop import sure
from harness.judge.verdict import Judged, Verdict
from harness.stats import ALPHA
from harness.stats.proportion import chance_to_pass_floor, false_alarm_of_floor, share_bounds


def judge_floor(
    name: str, threshold: Threshold, *, right: int, n: int, all_right: int, all_n: int, fail_alpha: float = ALPHA
) -> Judged:
    """Judge a floor by its rule.

    Args:
        name: The task.
        threshold: Its row, which has a floor.
        right: Right answers of the compressed arm on the floor's questions.
        n: The floor's questions that were asked.
        all_right: Right answers of the compressed arm on all questions.
        all_n: All questions, at least 1.
        fail_alpha: The floor's part of the error budget, unless it goes by the number itself.
    """
    floor = threshold.floor or 0.0
    if threshold.floor_rule == "upstream":
        return _by_upstream(
            name, threshold, right=right, n=n, all_right=all_right, all_n=all_n, fail_alpha=fail_alpha
        )
    if (short := _short(threshold, n)) is not None:
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(f"{name}: floor {floor:g}: {short}",))
    said = f"{name}: compressed accuracy {right / n:.4f} of {n} questions, floor {floor:g}"
    if n < threshold.min_questions:
        too_few = f"{said}, which holds for {threshold.min_questions} questions or more: too little data"
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(too_few,))
    if threshold.floor_rule == "confident":
        return _confidently(said, right, n, floor, fail_alpha)
    reached = right / n >= floor
    text = (
        f"{said} (point rule): {'reached' if reached else 'below it'}; a model exactly at the floor would pass "
        f"{chance_to_pass_floor(n, floor):.0%} of such runs"
    )
    return Judged(verdict=Verdict.PASS if reached else Verdict.FAIL, reasons=(text,))


def missed_upstream(name: str, threshold: Threshold, *, right: int, n: int, baseline: float) -> str | None:
    """Return what is to be said where upstream's own test would be red, or None.

    Args:
        name: The task.
        threshold: Its row.
        right: Right answers of the compressed arm on the floor's questions.
        n: The floor's questions that were asked.
        baseline: The baseline's accuracy on all questions of the run.
    """
    floor = threshold.floor
    if threshold.floor_rule != "upstream" or floor is None or n == 0 or _short(threshold, n) or right / n >= floor:
        return None
    return (
        f"{name}: upstream's own rule is missed: {right / n:.4f} of its {n} questions, floor {floor:g}; a harmless "
        f"model of the baseline's accuracy, {baseline:.3f}, misses it in "
        f"{false_alarm_of_floor(n, baseline, floor):.0%} of such runs"
    )


def _by_upstream(
    name: str, threshold: Threshold, *, right: int, n: int, all_right: int, all_n: int, fail_alpha: float
) -> Judged:
    floor = threshold.floor or 0.0
    _, high = share_bounds(all_right, all_n, fail_alpha)
    said = f"{name}: compressed accuracy {all_right / all_n:.4f} of {all_n} questions, floor {floor:g}"
    if high < floor:
        text = f"{said}: the true accuracy is below {high:.4f} ({sure(fail_alpha)})"
        return Judged(verdict=Verdict.FAIL, reasons=(text,))
    short = _short(threshold, n)
    seen = (
        f"{right / n:.4f} of its {n} questions, {'reached' if right / n >= floor else 'missed'}"
        if n
        else "none asked"
    )
    text = f"{said}: not surely below it; upstream's own rule (shown, not judged): {short or seen}"
    return Judged(verdict=Verdict.PASS, reasons=(text,))


def _short(threshold: Threshold, n: int) -> str | None:
    """Say what is missing of the floor's questions; None where all of them were asked."""
    wanted = threshold.floor_questions
    if wanted is None or n >= wanted:
        return None
    return (
        f"it is for the data's first {wanted} questions, and {n} of them were asked: ask all of the task's questions"
    )


def _confidently(said: str, right: int, n: int, floor: float, fail_alpha: float) -> Judged:
    low, _ = share_bounds(right, n, ALPHA)
    _, high = share_bounds(right, n, fail_alpha)
    if low >= floor:
        text = f"{said} (confident rule): true accuracy above {low:.4f} ({sure(ALPHA)})"
        return Judged(verdict=Verdict.PASS, reasons=(text,))
    if high < floor:
        text = f"{said} (confident rule): true accuracy below {high:.4f} ({sure(fail_alpha)})"
        return Judged(verdict=Verdict.FAIL, reasons=(text,))
    text = (
        f"{said} (confident rule): the true accuracy lies above {low:.4f} ({sure(ALPHA)}) and below {high:.4f} "
        f"({sure(fail_alpha)}), which decides nothing"
    )
    return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))
