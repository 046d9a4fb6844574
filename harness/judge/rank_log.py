"""A rank's log as it is judged: read, and every line of it held to the form that the plugin writes.

See harness.sglang_plugin.recorder for the lines, and .live_check and .measure for those of the live check.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.safety import parse_line

# SGLang's gate: the modes in which it never compresses (ForwardMode.is_decode_or_idle).
NEVER_COMPRESSED = frozenset({"DECODE", "IDLE", "OUTSIDE"})
# Passes of speculative decoding, which may compress: their tokens are no prompt's.
OF_DRAFTS = frozenset({"TARGET_VERIFY", "DRAFT_EXTEND", "DRAFT_EXTEND_V2"})
Count = Annotated[int, Field(ge=0)]


class Line(BaseModel):
    """A line, or a part of one; what else it holds is nobody's matter here."""

    model_config = ConfigDict(strict=True, extra="allow")


class Facts(Line):
    """What a rank says of itself."""

    flag: bool
    tp_size: int
    layers: Count
    hidden: Count


class Site(Line):
    """What was compressed at one site in one forward pass."""

    calls: Count
    quantized: Count
    elements: Count
    wire_bytes: Count = 0
    layers: dict[str, list[Count]] = Field(default_factory=dict)
    plain: Count = 0


class Pass(Line):
    """A forward pass."""

    mode: str
    tokens: Count
    sites: dict[str, Site] = Field(default_factory=dict)


class Tally(Line):
    """What the live check adds up over the tokens of one kind."""

    tokens: Count
    elements: Count
    beyond: Count
    over_bound: float
    signal: float
    error: float
    claimed: float
    nonzero: Count
    flushed: Count
    crest: float


class Element(Line):
    """An element that is told by itself."""

    row: int
    column: int
    served: float
    expected: float
    allowed: float | None


class Checked(Line):
    """A call that the live check summed exactly."""

    call: Count
    site: str
    layer: Count
    codec: str
    algorithm: str
    nonfinite: Count
    swallowed: Count
    differing: Count
    token0: Tally
    rest: Tally
    worst: Element | None = None
    differing_most: Element | None = None

    @model_validator(mode="after")
    def _told(self) -> Self:
        if (self.token0.beyond or self.rest.beyond) and self.worst is None:
            raise ValueError("the worst element is not told")
        if self.differing and self.differing_most is None:
            raise ValueError("the element that differs most is not told")
        return self


class CheckedPass(Line):
    """A pass with its checked calls, and how many calls and seconds there were up to its end."""

    samples: list[Checked]
    calls: Count
    pass_seconds: float
    check_seconds: float


class CheckedFacts(Line):
    """What a rank says of its live check."""

    every: Count
    codec: str
    algorithm: str


class RankLog(NamedTuple):
    """One rank's log: what it says of itself, and its forward passes."""

    facts: dict[str, Any]
    passes: list[dict[str, Any]]


def read_rank(file: Path) -> RankLog:
    """Read one rank's log.

    Raises:
        OSError: It is not there.
        ValueError: It is no such log.
    """
    facts, rest = read_facts_and_lines(file)
    must_be(Facts, [facts], "its first line lacks the rank's facts")
    # A run that was resumed started another server, whose ranks add to the same logs.
    passes = [line for line in rest if line != facts]
    must_be(Pass, passes, "it holds a line that is no forward pass")
    return RankLog(facts, passes)


def read_facts_and_lines(file: Path) -> tuple[Any, list[Any]]:
    """Return a log's first line and the others, each whatever its JSON says.

    Raises:
        OSError: It is not there.
        ValueError: It is empty, or a line is no JSON.
    """
    lines = [parse_line(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if not lines:
        raise ValueError("is empty")
    return lines[0], lines[1:]


def must_be(kind: type[Line], lines: Iterable[object], otherwise: str) -> None:
    """Do nothing if all lines are of a kind.

    Raises:
        ValueError: One is not: `otherwise`, and what is wrong with it.
    """
    for line in lines:
        try:
            kind.model_validate(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{otherwise}: {where + ': ' if where else ''}{first['msg']}") from None


def is_prefill(forward: dict[str, Any]) -> bool:
    """Return whether a forward pass of a rank's log may compress, and had tokens."""
    return forward["mode"] not in NEVER_COMPRESSED and forward["tokens"] > 0
