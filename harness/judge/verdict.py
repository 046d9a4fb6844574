"""PASS, FAIL, INCONCLUSIVE or ERROR, each with its reasons, and the worst of several. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


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
WORST_FIRST = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict and why, in words that stand alone.

    Attributes:
        verdict: The verdict.
        reasons: One sentence each; never empty.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = field(default=())


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
        text = "nothing was judged: all tasks are report_only, and no row says what of the predictions is accepted"
        return Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))
    return worst(judged)


def worst(parts: Sequence[Judged]) -> Judged:
    """Return the worst verdict with the reasons of all parts that share it."""
    verdict = min((part.verdict for part in parts), key=WORST_FIRST.index)
    reasons = tuple(reason for part in parts if part.verdict is verdict for reason in part.reasons)
    return Judged(verdict=verdict, reasons=reasons)
