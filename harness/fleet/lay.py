"""Lays the arms of a run, wherever they were measured, into one folder: from there on it is a run like any other."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.fleet.records import FleetFolder, FleetRun
from harness.fleet.relocate import relocate
from harness.fleet.shards import merge
from harness.plan.plan import BASELINE, Plan
from harness.records.arm_end import ENDED, ArmEnd
from harness.records.run import BROKEN, FINISHED, ArmRecord, Fingerprint, RunRecord, read_record, write_record
from harness.records.run_folder import PRIVATE, RunFolder
from harness.run.reuse_baseline import differences


def lay(
    run: FleetRun,
    fleet: FleetFolder,
    keys: Mapping[str, Sequence[str]],
    *,
    started: str,
    errors: Sequence[str],
    notes: Sequence[str],
) -> RunFolder:
    """Make a run's folder of what its arms left; one that is there is made anew.

    Args:
        run: The run.
        fleet: The fleet's files.
        keys: What the fleet calls the shards of each of the run's arms, in order; one key without shards.
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
    plan, versions, until, unlike = run.plan, dict[str, str](), 0.0, list[str]()
    for name, its_keys in keys.items():
        shards = [RunFolder(fleet.arm(key)) for key in its_keys if (fleet.arm(key) / ENDED).exists()]
        for left in shards:
            versions |= read_record(left.path / ENDED, ArmEnd).versions
            if name != BASELINE and left.plan.exists():
                # As the host's SGLang spells its arguments. A shared baseline's is another run's.
                plan = relocate(read_record(left.plan, Plan), folder.path).model_copy(update={"shard": None})
            unlike += _take_from(left, folder)
        if run.shards > 1:
            merge([left.arm(name) for left in shards], folder.arm(name), began=until)
        elif shards and shards[0].arm(name).path.is_dir():
            shutil.copytree(shards[0].arm(name).path, folder.arm(name).path)
        if folder.arm(name).record.exists():
            until = max(until, read_record(folder.arm(name).record, ArmRecord).until)
    if unlike and not errors:
        errors = [f"its arms ran on unlike hosts, or what they depend on changed: {text}" for text in unlike]
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


def _take_from(left: RunFolder, folder: RunFolder) -> list[str]:
    """Take what all arms of a run have alike from one's folder; return in what it is unlike those before it."""
    if left.asked.is_dir() and not folder.asked.exists():
        shutil.copytree(left.asked, folder.asked)
    if not left.fingerprint.exists():
        return []
    if not folder.fingerprint.exists():
        shutil.copy2(left.fingerprint, folder.fingerprint)
    return differences(*(read_record(one.fingerprint, Fingerprint) for one in (folder, left)))
