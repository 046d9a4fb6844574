"""Where a broken run goes on: each arm's files as they were when its server was last idle, all of them on the disk.

A task is asked in legs: whole batches, and the prefix cache emptied before each leg. Nothing that is asked in a leg
depends on an earlier one, so a run that goes on at a leg's start gives the answers of one that was not broken, to the
last bit where the server itself repeats them.
"""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from harness.errors import HarnessError
from harness.plan.plan import Shard
from harness.records.run import ArmRecord, read_record, sync
from harness.records.run_folder import ArmFolder

# Shorter legs lose less when a run breaks; longer ones fill the prefix cache with the few-shot examples less often.
LEG_QUESTIONS = 16


def legs(part: range, at_once: int) -> list[range]:
    """Split a part of a task into legs of whole batches, which are those of the part itself."""
    size = at_once * ceil(LEG_QUESTIONS / at_once)
    return batches(part, size)


def share(found: list[range], shard: Shard | None) -> list[range]:
    """Return the legs that a shard is asked, neighbours of each other; all of them without a shard."""
    if shard is None:
        return found
    first, end = (len(found) * number // shard.of for number in (shard.number, shard.number + 1))
    return found[first:end]


def batches(leg: range, at_once: int) -> list[range]:
    """Split a leg into what is asked at once."""
    return [range(start, min(start + at_once, leg.stop)) for start in range(leg.start, leg.stop, at_once)]


def sizes_on_disk(folder: ArmFolder) -> dict[str, int]:
    """Return the sizes of an arm's files, once they are on disk.

    Raises:
        OSError: A file cannot be read.
    """
    sizes = {}
    for name, file in _files(folder):
        sizes[name] = file.stat().st_size
        sync(file)
    return sizes


def restore(folder: ArmFolder) -> ArmRecord | None:
    """Bring an arm's files back to its last checkpoint; what was written after it will be asked again.

    Returns:
        How the arm ran up to then; None where it has no checkpoint: it starts anew.

    Raises:
        HarnessError: The record is broken, or a file is shorter than it was.
        OSError: A file cannot be written.
    """
    record = read_record(folder.record, ArmRecord) if folder.record.exists() else None
    sizes = record.checkpoint.sizes if record and record.checkpoint else {}
    files = dict(_files(folder))
    if lost := [name for name, size in sizes.items() if name not in files or files[name].stat().st_size < size]:
        raise HarnessError(
            f"{folder.path}: {', '.join(lost)} lost what it held when the run was last whole: start the run anew"
        )
    for name, file in files.items():
        if name in sizes:
            os.truncate(file, sizes[name])
        else:
            file.unlink()
    if not sizes:
        folder.record.unlink(missing_ok=True)
        return None
    return record


def _files(folder: ArmFolder) -> Iterator[tuple[str, Path]]:
    """Yield the files of an arm that only grow, each with its name; the server's own output is no part of it."""
    for file in sorted(folder.path.rglob("*.jsonl")):
        yield str(file.relative_to(folder.path)), file
