"""Makes room: of old runs that were good, the arms' files go and the report and what the memory holds of it stay."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.history.store import Run, Store
from harness.history.sync import is_running
from harness.history.trend import trend
from harness.judge.verdict import Verdict
from harness.plan.plan import Plan
from harness.records.run import read_record
from harness.records.run_folder import RunFolder

# Runs of earlier harnesses have the tasks there as they were loaded.
TASKS = "tasks"


def prune(store: Store, reports: Path, keep: int) -> list[Path]:
    """Take the arms' files out of old good runs.

    Whole stay the last runs of each suite, every run that is not a PASS, what a person accepted, what an open alarm
    is held against, and what is still at work. Nothing is touched but the folders of arms that a run's own plan
    names, and of what was asked, within the run's own folder, of runs that the memory has.

    Args:
        store: The memory, brought up to date.
        reports: The folder of the run folders.
        keep: How many runs of each suite stay whole, at least 1.

    Returns:
        The folders that were made smaller.

    Raises:
        OSError: One cannot be removed.
    """
    every = store.runs()
    kept = {run.run_id for suite in {run.suite for run in every} for run in _last(every, suite, keep)}
    for suite in {run.suite for run in every}:
        found = trend(store, suite)
        kept |= {one.run_id for _, alarm in (found.alarms if found else ()) for one in (alarm.reference, alarm.since)}
    smaller = []
    for run in every:
        folder = RunFolder(reports / run.run_id)
        if run.run_id in kept or run.verdict != Verdict.PASS or run.accepted is not None:
            continue
        # What the memory was made of goes only where the memory itself is beside it.
        there = os.path.exists(folder.memory)  # noqa: PTH110 - pathlib's raises where a folder is another user's
        if there and not is_running(folder) and (parts := _parts(folder)):
            for part in parts:
                shutil.rmtree(part)
            smaller.append(folder.path)
    return smaller


def _last(runs: Sequence[Run], suite: str, keep: int) -> Sequence[Run]:
    return [run for run in runs if run.suite == suite][-keep:]


def _parts(folder: RunFolder) -> list[Path]:
    """Return the folders to be removed: real ones, right below the run's."""
    plan = read_record(folder.plan, Plan)
    named = [*(folder.arm(arm.name).path for arm in plan.arms), folder.asked, folder.path / TASKS]
    # Resolved: a plan from elsewhere may name an arm `..`, whose folder would be all reports.
    here = folder.path.resolve()
    return [path for path in named if path.is_dir() and not path.is_symlink() and path.resolve().parent == here]
