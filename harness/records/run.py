"""What a run leaves on disk beside samples and logs, and where. Written as it goes, read by the report."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from harness.errors import HarnessError
from harness.strict import Strict

RecordT = TypeVar("RecordT", bound=BaseModel)


class TaskRecord(Strict):
    """How one task ran in one arm.

    Attributes:
        seconds: How long it took.
        questions: How many were asked: fewer than planned where the verdict was certain before.
        protocol: Everything that decides what was asked and how it was read.
        protocol_text: The same in the one line that a threshold records.
    """

    seconds: float
    questions: int
    protocol_text: str
    protocol: dict[str, Any]


class Traffic(Strict):
    """What a server said that it was asked, over all of its answers; in tokens.

    Attributes:
        answers: Prompts that were answered.
        prompt: Their tokens.
        cached: Those of them that were in the prefix cache, and not prefilled.
        uncertain: How many more may have been prefilled: prompts without an answer, and those that the server took
            back for want of memory to prefill them again.
    """

    answers: int = 0
    prompt: int = 0
    cached: int = 0
    uncertain: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        """Return both together."""
        return Traffic(
            answers=self.answers + other.answers,
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            uncertain=self.uncertain + other.uncertain,
        )


class ArmRecord(Strict):
    """How one arm ran.

    Attributes:
        server_args: What the server itself says it runs with, less its key.
        known_answer: Whether it gave the known answer.
        seconds_to_ready: From its start to that answer.
        own_prefill: Tokens that the server prefilled on its own account until then: its warm-up, its health check.
            None where that was not yet known.
        traffic: What the server was asked and answered up to the end of the last finished task.
        tasks: How each finished task ran.
    """

    server_args: dict[str, Any]
    known_answer: bool
    seconds_to_ready: float
    own_prefill: int | None = None
    traffic: Traffic = Traffic()
    tasks: dict[str, TaskRecord] = Field(default_factory=dict)


class RunRecord(Strict):
    """How the run went as a whole.

    Attributes:
        started: ISO time, UTC.
        seconds: How long it took.
        errors: What ended it early, each with where; empty for a run that was finished.
        versions: Of everything that took part.
    """

    started: str
    seconds: float
    errors: list[str]
    versions: dict[str, str]


class Fingerprint(Strict):
    """Everything that the baseline's answers depend on, by name.

    Attributes:
        facts: A hash or a text for each.
    """

    facts: dict[str, str]


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
    partial.unlink(missing_ok=True)
    with partial.open("x", encoding="utf-8") as out:
        out.write(text)
    os.replace(partial, file)  # noqa: PTH105 - atomic, and named so


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
    with file.open("a", encoding="utf-8", buffering=1) as out:
        out.writelines(record.model_dump_json() + "\n" for record in found)


def read_lines(file: Path, model: type[RecordT], what: str) -> list[RecordT]:
    """Read a file that holds a record a line.

    Args:
        file: The file.
        model: The records' type.
        what: What one is called, with its article.

    Raises:
        HarnessError: The file is missing, or a line is none.
    """
    try:
        # Not splitlines(): a generated text may hold characters that Unicode takes for line ends. A file that
        # was cut off within a character is refused below, by its line.
        with file.open(encoding="utf-8", errors="replace") as content:
            lines = list(content)
    except OSError as error:
        raise HarnessError(f"{file} cannot be read: {error.strerror}; that task was not finished") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(model.model_validate_json(line))
        except ValueError as error:
            raise HarnessError(f"{file}:{number}: is not {what}: {error}") from error
    return found
