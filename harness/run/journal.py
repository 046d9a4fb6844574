"""A run's own record, run.json: written when it starts, and with whatever ended it before that goes any further."""

import fcntl
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.run import goes_on
from harness.places import point_latest
from harness.plan.plan import BASELINE, Plan
from harness.records.run import BROKEN, FINISHED, RUNNING, ArmRecord, RunRecord, read_record, write_record
from harness.records.run_folder import PRIVATE, RunFolder


class Journal:
    """Says in run.json where a run is.

    Attributes:
        folder: The run's folder.
        record: What run.json says.
    """

    def __init__(self, folder: RunFolder, record: RunRecord) -> None:
        """Write the record of a run that starts.

        Raises:
            OSError: It cannot be written.
        """
        self.folder = folder
        self._clock, self._before = time.monotonic(), record.seconds
        self.record = record
        self._write(state=RUNNING)

    def finished(self) -> None:
        """Note that the run got to its end."""
        self._write(state=FINISHED)

    def broken(self, error: BaseException) -> None:
        """Note what ended the run."""
        self._write(state=BROKEN, errors=[in_words(error)])

    def _write(self, **changed: object) -> None:
        seconds = self._before + time.monotonic() - self._clock
        self.record = self.record.model_copy(update={"seconds": seconds, **changed})
        write_record(self.folder.run, self.record)


def in_words(error: BaseException) -> str:
    """Return what ended a run as its report says it."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by the user"
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, OSError):
        return f"a file cannot be written ({error}): is the disk full? What was measured before is kept"
    where = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    return f"{type(error).__name__}: {error}" + (f" ({where.filename}:{where.lineno})" if where else "")


@contextmanager
def opened(plan: Plan, versions: dict[str, str], *, resume: bool) -> Iterator[Journal]:
    """Open a run: its folder is made, or taken up again, is this process's alone, and `latest` points to it.

    Args:
        plan: What is to be done.
        versions: Of everything that takes part.
        resume: Whether the folder is that of a broken run, which goes on.

    Raises:
        HarnessError: The folder cannot be written; or the run that it is of still runs, or has ended.
    """
    folder = RunFolder(Path(plan.folder))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    record = RunRecord(started=started, seconds=0.0, errors=[], versions=versions)
    with ExitStack() as stack:
        try:
            folder.path.mkdir(mode=PRIVATE, parents=True, exist_ok=resume)
            stack.enter_context(_alone(folder.path))
            if resume:
                broken = unfinished(folder)
                resumed = [*broken.resumed, f"{started}: {'; '.join(broken.ended_by)}"]
                seconds = max(broken.seconds, _measured_until(folder, plan))
                changed = {"errors": [], "versions": versions, "resumed": resumed, "seconds": seconds}
                record = broken.model_copy(update=changed)
            else:
                write_record(folder.plan, plan)
            journal = Journal(folder, record)
            if not plan.calibrates:
                point_latest(folder.path)
        except FileExistsError as error:
            raise HarnessError(
                f"{folder.path} is another run's, which started in the same moment: start again"
            ) from error
        except OSError as error:
            raise HarnessError(f"{folder.path} cannot be written: {error}") from error
        yield journal


def _measured_until(folder: RunFolder, plan: Plan) -> float:
    """Return how long a broken run took by what its arms tell: one that was killed did not write it down itself."""
    found = [folder.arm(arm.name).record for arm in plan.arms if arm.name != BASELINE or plan.reuse_baseline is None]
    return max((read_record(file, ArmRecord).until for file in found if file.exists()), default=0.0)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the kernel takes back from a process that ends in whatever way."""
    opened_folder = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened_folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HarnessError(f"the run in {folder} has not ended: another process is at it") from None
        yield
    finally:
        os.close(opened_folder)


def unfinished(folder: RunFolder) -> RunRecord:
    """Return the record of a run that did not get to its end.

    Raises:
        HarnessError: It did, or there is no run.
    """
    record = read_record(folder.run, RunRecord)
    if record.state == FINISHED:
        raise HarnessError(f"the run in {folder.path} got to its end: there is nothing to resume, start another")
    return record


def plan_to_resume(folder: Path) -> Plan:
    """Return the plan of a broken run, as it was.

    Raises:
        HarnessError: There is none, the run was not broken, or its folder was moved.
    """
    run = RunFolder(folder.resolve())
    plan = read_record(run.plan, Plan)
    unfinished(run)
    if Path(plan.folder) != run.path:
        raise HarnessError(f"{run.path} was {plan.folder} when the run started, where its plan has it: move it back")
    return plan


def how_to_resume(plan: Plan) -> str:
    """Return the command that goes on with a plan's run; empty where there is nothing to go on with, or in vain."""
    with suppress(HarnessError):
        return plan.resume if goes_on(unfinished(RunFolder(Path(plan.folder)))) else ""
    return ""
