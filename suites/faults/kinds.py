"""A kind of fault: what is broken, what the harness has to make of it, and the judgement of what it made."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict

from suites.faults.lab import Ended, Lab

PASS, FAIL, INCONCLUSIVE, ERROR, INTERRUPTED = 0, 1, 2, 3, 130
KILLED = -9
NAMES = {
    PASS: "PASS",
    FAIL: "FAIL",
    INCONCLUSIVE: "INCONCLUSIVE",
    ERROR: "ERROR",
    INTERRUPTED: "interrupted",
    KILLED: "killed",
}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the harness has to make of a fault.

    Attributes:
        codes: The exit codes that are right.
        says: What its output must say, a regular expression; empty for anything.
        within_s: How long the whole may take, seconds.
    """

    codes: tuple[int, ...]
    says: str = ""
    within_s: float = 60.0

    def __str__(self) -> str:
        """Say it as the table does."""
        codes = " or ".join(NAMES.get(code, str(code)) for code in self.codes)
        return f"{codes}; says “{self.says}”" if self.says else codes


@dataclass(kw_only=True)
class Seen:
    """What the harness made of a fault.

    Attributes:
        ended: How the commands ended that the expectation is about; none for a kind that judges for itself.
        problems: What is wrong beside exit code and words.
        cases: How many times something was broken.
        note: What the table should tell of it.
    """

    ended: list[Ended] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cases: int = 1
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: What is broken, in a few words.
        family: What it belongs to.
        where: Where it strikes.
        expected: What the harness has to make of it.
        act: Does it, in a lab of its own.
        short: Whether the short form has it too.
        real: Whether it needs real servers.
    """

    name: str
    family: str
    where: str
    expected: Expected
    act: Callable[[Lab], Seen]
    short: bool = False
    real: bool = False


class Row(BaseModel):
    """A line of the table, kept until the whole campaign is through.

    Attributes:
        family: What the kind belongs to.
        name: What was broken.
        where: Where it struck.
        expected: What the harness had to make of it, in words.
        seen: What was seen, in words.
        problems: Why it is not right; empty where it is.
        cases: How many times something was broken.
        seconds: How long it took.
        day: When.
        commit: Of the harness.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    name: str
    where: str
    expected: str
    seen: str
    problems: tuple[str, ...]
    cases: int
    seconds: float
    day: date
    commit: str


def judge(kind: Kind, seen: Seen, seconds: float, *, commit: str) -> Row:
    """Return the line of a kind: what was seen, and everything about it that is not as expected."""
    problems = [problem for ended in seen.ended for problem in ended_problems(kind.expected, ended)]
    problems += seen.problems
    codes = sorted({ended.code for ended in seen.ended}, key=str)
    words = ", ".join(NAMES.get(code, str(code)) if code is not None else "did not end" for code in codes)
    text = "; ".join(part for part in (words, seen.note) if part)
    return Row(
        family=kind.family,
        name=kind.name,
        where=kind.where,
        expected=str(kind.expected),
        seen=text,
        problems=tuple(problems),
        cases=seen.cases,
        seconds=round(seconds, 1),
        day=datetime.now(UTC).date(),
        commit=commit,
    )


def ended_problems(expected: Expected, ended: Ended) -> Iterable[str]:
    """Yield everything that is wrong with how a command ended."""
    if ended.code is None:
        yield f"did not end within {ended.seconds:.0f} s"
    elif ended.code not in expected.codes:
        yield f"ended with {NAMES.get(ended.code, ended.code)}: {last_words(ended.said)}"
    if expected.says and not re.search(expected.says, ended.said, re.IGNORECASE | re.DOTALL):
        yield f"does not say “{expected.says}” but: {last_words(ended.said)}"
    if ended.code is not None and ended.seconds > expected.within_s:
        yield f"took {ended.seconds:.0f} s, more than {expected.within_s:.0f}"
    yield from words_problems(ended.said)
    yield from (f"left a process: {stray}" for stray in ended.strays)


def words_problems(said: str) -> Iterable[str]:
    """Yield what nobody should find in a terminal or a CI log."""
    # A server's own, quoted from the end of its log, is indented.
    if re.search(r"^Traceback \(most recent call last\)", said, re.MULTILINE):
        yield f"a traceback: {said.strip().splitlines()[-1][:200]}"
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", said):
        yield "control characters in its output"
    if re.search(r"^\s*::\w+.*::", said, re.MULTILINE):
        yield "a line of its output is a command to a CI system"


def last_words(said: str) -> str:
    """Return the end of an output, in one line."""
    return " ".join(said.split())[-240:]
