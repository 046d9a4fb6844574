"""What goes wrong, said so that the reader can act on it. Every one of these ends in exit code 3, ERROR."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class HarnessError(Exception):
    """A run that cannot be started or finished; its message says what is wrong, where, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in a file.

    Attributes:
        file: The file.
        line: Its line, counted from 1, or None where no line can be named.
        key: Dotted path to the key, e.g. `models.Qwen3-8B.gsm8k.floor`; empty for the whole file.
        message: What is wrong and what would be right.
    """

    file: Path
    message: str
    line: int | None = None
    key: str = ""

    def __str__(self) -> str:
        """Return `file:line: key: message`, the form editors and CI logs link."""
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(HarnessError):
    """Input that is refused before any server starts, with all its problems at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class NotFetchedError(HarnessError):
    """Something of a hub's that is not here yet, and that the hub may not be asked for.

    Attributes:
        task: The task whose data it is; empty for anything else.
        what: What it is called there.
    """

    def __init__(self, message: str, *, task: str = "", what: str = "") -> None:
        super().__init__(message)
        self.task, self.what = task, what
