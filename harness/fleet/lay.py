"""Lays the arms of a run, wherever they were measured, into one folder: from there on it is a run like any other."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.fleet.records import FleetFolder, FleetRun
from harness.fleet.relocate import relocate
from harness.plan.plan import BASELINE, Plan
from harness.records.arm_end import ENDED
from harness.records.run import BROKEN, FINISHED, ArmRecord, RunRecord, read_record, write_record
from harness.records.run_folder import PRIVATE, RunFolder


def lay(
    run: FleetRun,
    fleet: FleetFolder,
    keys: Mapping[str, str],
    *,
    started: str,
    errors: Sequence[str],
    notes: Sequence[str],
) -> RunFolder:
    """Make a run's folder of what its arms left; one that is there is made anew.

    Args:
        run: The run.
        fleet: The fleet's files.
        keys: What the fleet calls each of the run's arms.
        started: When its first arm began, ISO, UTC.
        errors: What ended it early; none for a run whose arms are all done.
        notes: What the report is to say of how it ran.

    Raises:
        HarnessError: An arm's record is broken.
        OSError: A file cannot be written.
    """
    folder = RunFolder(Path(run.plan.folder))
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir(mode=PRIVATE, parents=True)
    plan, versions, until = run.plan, dict[str, str](), 0.0
    for name, key in keys.items():
        left = RunFolder(fleet.arm(key))
        if not (left.path / ENDED).exists():
            continue
        versions |= fleet.end(key).versions
        if name != BASELINE and left.plan.exists():
            # As the host's SGLang spells its arguments. A shared baseline's is another run's.
            plan = relocate(read_record(left.plan, Plan), folder.path)
        if left.arm(name).path.is_dir():
            shutil.copytree(left.arm(name).path, folder.arm(name).path)
        if left.arm(name).record.exists():
            until = max(until, read_record(left.arm(name).record, ArmRecord).until)
        if left.fingerprint.exists() and not folder.fingerprint.exists():
            shutil.copy2(left.fingerprint, folder.fingerprint)
        if left.asked.is_dir() and not folder.asked.exists():
            shutil.copytree(left.asked, folder.asked)
    write_record(folder.plan, plan)
    record = RunRecord(
        started=started,
        seconds=until,
        errors=list(errors),
        versions=versions,
        state=BROKEN if errors else FINISHED,
        notes=list(notes),
    )
    write_record(folder.run, record)
    return folder
