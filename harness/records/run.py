"""What a run leaves on disk beside samples and logs, and where. Written as it goes, read by the report.

What a writer here has written is on the disk when it returns: neither SIGKILL nor a loss of power takes it away.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from harness.errors import HarnessError
from harness.records.time_spent import Span, Spent
from harness.strict import Counted, Strict

RecordT = TypeVar("RecordT", bound=BaseModel)


class TaskRecord(Strict):
    """How one task ran in one arm.

    Attributes:
        seconds: How long it took.
        questions: How many were asked: fewer than planned where the verdict was certain before.
        protocol: Everything that decides what was asked and how it was read.
        protocol_text: The same in the one line that a threshold records.
        spent: What those seconds went into; None in runs that did not record it.
    """

    seconds: float
    questions: int
    protocol_text: str
    protocol: dict[str, Any]
    spent: Spent | None = None


class Checkpoint(Strict):
    """Where an arm was when its server was last idle with everything on disk: a broken run goes on from there.

    Attributes:
        task: The task under way, or the last one that ended.
        questions: How many of its questions were asked by then.
        seconds: How long they took.
        sizes: How many bytes each of the arm's files had; they are only ever added to.
        spent: What those seconds went into; None in runs that did not record it.
    """

    task: str
    questions: int
    seconds: float
    sizes: dict[str, int]
    spent: Spent | None = None


class Traffic(Counted):
    """What a server said that it was asked, over all of its answers; in tokens.

    Attributes:
        answers: Prompts that were answered.
        prompt: Their tokens.
        cached: Those of them that were in the prefix cache, and not prefilled.
        uncertain: How many more may have been prefilled: prompts without an answer, and those that the server took
            back for want of memory to prefill them again.
        alone: Prompts that were asked one by one, after the request in which they were together was refused.
    """

    answers: int = 0
    prompt: int = 0
    cached: int = 0
    uncertain: int = 0
    alone: int = 0


class ArmRecord(Strict):
    """How one arm ran.

    Attributes:
        server_args: What the server itself says it runs with, less its key.
        known_answer: Whether it gave the known answer.
        seconds_to_ready: From its start to that answer.
        own_prefill: Tokens that the server prefilled on its own account until then: its warm-up, its health check.
            None where that was not yet known.
        traffic: What the server was asked and answered up to the checkpoint.
        tasks: How each finished task ran.
        checkpoint: Where a broken run goes on; None before the first.
        starts: When its servers were started, until each gave the known answer: one, and one for each time that the
            arm was resumed; none in runs that did not record it.
    """

    server_args: dict[str, Any]
    known_answer: bool
    seconds_to_ready: float
    own_prefill: int | None = None
    traffic: Traffic = Traffic()
    tasks: dict[str, TaskRecord] = Field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    starts: list[Span] = Field(default_factory=list)

    def asked(self, task: str) -> int:
        """Return how many of a task's questions were asked up to the checkpoint."""
        if task in self.tasks:
            return self.tasks[task].questions
        return self.checkpoint.questions if self.checkpoint and self.checkpoint.task == task else 0

    def seconds(self, task: str) -> float:
        """Return how long those took."""
        if task in self.tasks:
            return self.tasks[task].seconds
        return self.checkpoint.seconds if self.checkpoint and self.checkpoint.task == task else 0.0

    def spent(self, task: str) -> Spent | None:
        """Return what those seconds went into; None where that was not recorded."""
        if task in self.tasks:
            return self.tasks[task].spent
        return self.checkpoint.spent if self.checkpoint and self.checkpoint.task == task else Spent()

    @property
    def until(self) -> float:
        """When, on the run's clock, the last thing ended that it tells of; 0 where it tells of no time."""
        told = [done.spent for done in (*self.tasks.values(), self.checkpoint) if done and done.spent]
        spans = [*self.starts, *(span for spent in told for span in spent.spans)]
        return max((span.ended for span in spans), default=0.0)


State = Literal["running", "finished", "broken"]
RUNNING: State = "running"
FINISHED: State = "finished"
BROKEN: State = "broken"
CUT_OFF = "the run was cut off without a word (killed, or the power failed), or has not ended yet"


class RunRecord(Strict):
    """How the run went as a whole; written when it starts and when it ends.

    Attributes:
        started: ISO time, UTC.
        seconds: How long it took, the time between being broken and being resumed left out.
        errors: What ended it early, each with where; empty for a run that was finished.
        versions: Of everything that took part.
        state: `running`, `finished`, or `broken`: ended by `errors`.
        resumed: What had ended it each time it was resumed.
        notes: What else whoever ran it has to say of how: for the report's notes.
    """

    started: str
    seconds: float
    errors: list[str]
    versions: dict[str, str]
    state: State = FINISHED
    resumed: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    @property
    def ended_by(self) -> list[str]:
        """What ended it early; a run that never said that it ended was cut off."""
        return list(self.errors) or ([CUT_OFF] if self.state == RUNNING else [])


class Fingerprint(Strict):
    """Everything that the baseline's answers depend on, by name.

    Attributes:
        facts: A hash or a text for each.
    """

    facts: dict[str, str]


@contextmanager
def durable(file: Path, mode: str) -> Iterator[IO[str]]:
    """Open a file to write to it, line by line, and see to it that it is on the disk when the body ends.

    Args:
        file: The file.
        mode: `a` to add to it, `x` to make it.

    Raises:
        OSError: It cannot be written.
    """
    with file.open(mode, encoding="utf-8", buffering=1) as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def sync(path: Path) -> None:
    """See to it that a file's contents, or a folder's list of files, are on the disk, whoever wrote them.

    Raises:
        OSError: They cannot be.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_record(file: Path, record: BaseModel) -> None:
    """Write a record; the file is there whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(file, record.model_dump_json(indent=2) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a file, whole or not at all; where a link stands in its place, the link is replaced and not followed.

    Raises:
        OSError: It cannot be written.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        with durable(partial, "x") as out:
            out.write(text)
        os.replace(partial, file)  # noqa: PTH105 - atomic, and named so
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    sync(file.parent)


def read_record(file: Path, model: type[RecordT]) -> RecordT:
    """Read a record.

    Raises:
        HarnessError: It is missing or is none.
    """
    try:
        return model.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise HarnessError(f"{file} is not a {model.__name__} of this version: {error}") from error


def write_lines(file: Path, found: Iterable[BaseModel]) -> None:
    """Add a record a line to a file, each as soon as it is there.

    Raises:
        OSError: The file cannot be written.
    """
    with durable(file, "a") as out:
        out.writelines(record.model_dump_json() + "\n" for record in found)


def read_lines(file: Path, model: type[RecordT], what: str) -> list[RecordT]:
    """Read a file that holds a record a line. A last line that was cut off while it was written is none.

    Args:
        file: The file.
        model: The records' type.
        what: What one is called, with its article.

    Raises:
        HarnessError: The file is missing, or a line is none.
    """
    try:
        # Not splitlines(): a generated text may hold characters that Unicode takes for line ends. A file may be
        # cut off within a character.
        with file.open(encoding="utf-8", errors="replace") as content:
            lines = list(content)
    except OSError as error:
        raise HarnessError(f"{file} cannot be read: {error.strerror}; that task was not finished") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(model.model_validate_json(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise HarnessError(f"{file}:{number}: is not {what}: {error}") from error
    return found
