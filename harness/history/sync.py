"""Brings the database up to what the run folders hold: each new run, each changed one, none that is gone."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

from harness.errors import HarnessError
from harness.history.record import RECORD_VERSION, RunMemory, remember
from harness.history.store import Store
from harness.plan.plan import COMPRESSED
from harness.records.run import read_record, write_record
from harness.records.run_folder import RunFolder
from harness.strict import Strict


class Accepted(Strict):
    """A person's word that a run is the new normal, kept in its folder.

    Attributes:
        date: When, as YYYY-MM-DD.
        why: Why.
    """

    date: str
    why: str


def sync(store: Store, reports: Path) -> list[str]:
    """Bring a database up to its folder of reports.

    Args:
        store: The database.
        reports: The folder of the run folders.

    Returns:
        What could not be taken in, each with why.
    """
    known, there, untaken = store.stamps(), set[str](), list[str]()
    for folder in run_folders(reports):
        name = folder.path.name
        there.add(name)
        try:
            if known.get(name) == _stamp(folder) or not is_judged(folder) or is_running(folder):
                continue
            take_in(store, folder)
        except (HarnessError, OSError) as error:
            untaken.append(f"{folder.path}: {str(error).splitlines()[0]}")
    if gone := sorted(known.keys() - there):
        store.forget(gone)
    return untaken


def take_in(store: Store, folder: RunFolder) -> None:
    """Take one run in, in place of what there is of it; errors as for `memory_of`."""
    # Before its files are read: what changes meanwhile is seen the next time.
    stamp = _stamp(folder)
    store.add(folder.path.name, memory_of(folder), stamp=stamp, accepted=accepted(folder))


def run_folders(reports: Path) -> Iterator[RunFolder]:
    """Yield the folders below a folder of reports that hold a run of a suite, by name; links are none."""
    with suppress(FileNotFoundError), os.scandir(reports) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            folder = RunFolder(Path(entry.path))
            if entry.is_dir(follow_symlinks=False) and _has_plan(folder):
                yield folder


def _has_plan(folder: RunFolder) -> bool:
    try:
        return folder.plan.exists()
    except PermissionError:
        # Of another user, who alone can see: whoever reads it says so.
        return True


def is_judged(folder: RunFolder) -> bool:
    """Return whether a folder is that of a suite's run: a study has no arms, a calibration only baselines."""
    try:
        arms = json.loads(folder.plan.read_bytes())["arms"]
        return any(arm["name"] == COMPRESSED for arm in arms)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_running(folder: RunFolder) -> bool:
    """Return whether a process is at a run: it holds the folder's lock until it ends, in whatever way."""
    opened = os.open(folder.path, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def accept(folder: RunFolder, why: str, today: date) -> None:
    """Note in a run's folder that it is the new normal, from which later nights are judged.

    Raises:
        OSError: It cannot be written.
    """
    write_record(folder.accepted, Accepted(date=f"{today:%Y-%m-%d}", why=why))


def accepted(folder: RunFolder) -> str | None:
    """Return why a run was taken for the new normal; None where it was not."""
    if not folder.accepted.exists():
        return None
    found = read_record(folder.accepted, Accepted)
    return f"{found.date}: {found.why}"


def memory_of(folder: RunFolder) -> RunMemory:
    """Read what was kept of a run, or make it where there is nothing or the report is newer.

    Raises:
        HarnessError: The folder holds no run of this version.
    """
    kept, report = folder.memory, folder.report
    if kept.exists() and not (report.exists() and report.stat().st_mtime_ns > kept.stat().st_mtime_ns):
        with suppress(HarnessError):
            found = read_record(kept, RunMemory)
            if found.version == RECORD_VERSION:
                return found
    made = remember(folder)
    # An archive that cannot be written is read anew each time the database is.
    with suppress(OSError):
        write_record(kept, made)
    return made


def _stamp(folder: RunFolder) -> int:
    """Return when any of the files was last written that the memory is made of."""
    times = [0]
    for file in (folder.plan, folder.run, folder.report, folder.accepted):
        with suppress(FileNotFoundError):
            times.append(file.stat().st_mtime_ns)
    return max(times)
