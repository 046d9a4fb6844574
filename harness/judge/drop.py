"""The tests of every task's drop in one run: they share one level of error, so they are made together.

A run passes only if every task does, so that a false PASS needs all of them to err: no correction. A FAIL of
any task fails the run, so the tests that find a FAIL are corrected for their number: Holm's way for tasks
asked to their end, Bonferroni's for those that may end early, whose designs are fixed beforehand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.stats import ALPHA, PairedCounts
from harness.stats.exact import exact_drop_p_values
from harness.stats.multiple import holm
from harness.stats.sequential import Design, decide, make_design, repeated_bounds


@dataclass(frozen=True, kw_only=True)
class DropToTest:
    """One task's numbers.

    Attributes:
        counts: The paired table.
        max_drop: The margin, 0 to 1.
        design: The looks of a task that may end early, None for one asked to its end.
    """

    counts: PairedCounts
    max_drop: float
    design: Design | None


@dataclass(frozen=True, kw_only=True)
class Drop:
    """The test of one task's drop against its margin.

    Attributes:
        low: Lower bound of the true difference, one-sided.
        high: Upper bound, likewise.
        passes: Whether it is shown that compression costs less than the margin.
        fails: Whether it is shown that it costs more.
        p_fails: The p-value behind `fails`, corrected for the number of tasks; None for a task that may end early.
        because: What bounds or tests are corrected for, in words; empty for nothing.
    """

    low: float
    high: float
    passes: bool
    fails: bool
    p_fails: float | None = None
    because: str = ""


def check_drops(tasks: Mapping[str, DropToTest]) -> dict[str, Drop]:
    """Test every task's drop.

    Args:
        tasks: All tasks of the run that have a margin, by name.

    Returns:
        The tests, by name.
    """
    to_their_end = {name: task for name, task in tasks.items() if task.design is None}
    # The score interval alone errs too often where few answers change: see harness.stats.exact.
    exact = {name: exact_drop_p_values(task.counts, task.max_drop).fails for name, task in to_their_end.items()}
    adjusted = holm(exact)
    # What the other tasks' designs leave of the level.
    share = len(tasks) / max(1, len(to_their_end))
    drops = {}
    for name, task in tasks.items():
        if task.design is not None:
            drops[name] = _sequential(task, task.design, len(tasks))
            continue
        p_fails = min(1.0, adjusted[name] * share)
        drops[name] = _to_its_end(task, p_fails, len(tasks))
    return drops


def _to_its_end(task: DropToTest, p_fails: float, tasks: int) -> Drop:
    n = task.counts.n
    if n == 0:
        return Drop(low=-1.0, high=1.0, passes=False, fails=False, p_fails=p_fails)
    design = make_design(n, task.max_drop, looks=(n,))
    low, high = repeated_bounds(design, task.counts)
    decision = decide(design, task.counts)
    return Drop(
        low=low,
        high=high,
        passes=decision == "PASS",
        fails=decision == "FAIL" and p_fails <= ALPHA,
        p_fails=p_fails,
        because=_corrected(tasks) if decision == "FAIL" else "",
    )


def _sequential(task: DropToTest, design: Design, tasks: int) -> Drop:
    if task.counts.n not in design.looks:
        # Ended neither early nor at its end: something is missing, and that is an ERROR elsewhere.
        return Drop(low=-1.0, high=1.0, passes=False, fails=False)
    low, high = repeated_bounds(design, task.counts)
    decision = decide(design, task.counts)
    looks = f", corrected for {len(design.looks)} looks"
    because = looks + (f" and {tasks} tasks" if decision == "FAIL" and tasks > 1 else "")
    return Drop(low=low, high=high, passes=decision == "PASS", fails=decision == "FAIL", because=because)


def _corrected(tasks: int) -> str:
    return f", corrected for {tasks} tasks" if tasks > 1 else ""
