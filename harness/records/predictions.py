"""What one arm read of one text, what its server found of it, and their files: one line of JSON each."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, FiniteFloat, model_validator

from harness.records.run import read_lines
from harness.strict import Strict

# Its name among the tasks.
FIDELITY = "fidelity"
# What runs before 2026-11-27 kept with each text; their reports can be built again without it.
SGLANGS_OWN = frozenset({"pieces", "logprobs", "best"})


class TextRecord(Strict):
    """One text that an arm's server was asked to read. Prediction i is of token i + 1, after the tokens 0 to i.

    Attributes:
        text: The text's name.
        text_hash: SHA-256 of the whole text.
        token_hash: SHA-256 of the token ids that were sent.
        tokens: Those ids.
        error: Why the request failed, or None.
    """

    text: str
    text_hash: str
    token_hash: str = ""
    tokens: list[int] = Field(default_factory=list)
    error: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_sglangs_own(cls, found: Any) -> Any:  # noqa: ANN401 - of any form until it is checked
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if name not in SGLANGS_OWN}
        return found


class Piece(Strict):
    """A token as text, by itself.

    Attributes:
        token: Its id.
        text: The text.
    """

    token: int
    text: str


class TextPredictions(Strict):
    """One text's predictions beside the uncompressed ones, from its second token on, as the server found them.

    Attributes:
        text: SHA-256 of its token ids.
        kl: KL divergence of each prediction from the uncompressed one, over the whole vocabulary, in nats.
        baseline: Uncompressed log-probability of the token that follows.
        candidate: The same in the other arm, or under the other policy.
        same_top: Whether the most likely token is the same.
    """

    text: str
    kl: list[FiniteFloat]
    baseline: list[FiniteFloat]
    candidate: list[FiniteFloat]
    same_top: list[bool]


class CompareLine(TextPredictions):
    """A line of what a server's plugin writes of a text: see harness.sglang_plugin.predictions.

    Attributes:
        policy: The policy in force.
        reference: That of the reference it was compared with; None where it was not.
        kept: Tokens, where it is kept as a reference.
        not_measured: Why it is neither; empty where it is.
        no_numbers: Whether that is because the reference holds numbers and what was to be compared does not.
        baseline_top: The reference's most likely token; empty in runs before 2026-11-27.
        candidate_top: The other's, likewise.
    """

    policy: int
    reference: int | None = None
    kept: int | None = None
    not_measured: str = ""
    no_numbers: bool = False
    kl: list[FiniteFloat] = Field(default_factory=list)
    baseline: list[FiniteFloat] = Field(default_factory=list)
    candidate: list[FiniteFloat] = Field(default_factory=list)
    same_top: list[bool] = Field(default_factory=list)
    baseline_top: list[int] = Field(default_factory=list)
    candidate_top: list[int] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        tops = (self.baseline_top, self.candidate_top) if self.baseline_top or self.candidate_top else ()
        if len({len(column) for column in (self.kl, self.baseline, self.candidate, self.same_top, *tops)}) > 1:
            raise ValueError("its columns are not of one length")
        return self


def read_compared(file: Path) -> dict[str, CompareLine]:
    """Read what an arm's server found of each text, by the SHA-256 of its token ids; the last that was compared.

    Raises:
        HarnessError: The file is missing, or a line is none.
    """
    lines = read_lines(file, CompareLine, "a text that a server compared")
    # What was measured once is not undone by another prompt that begins like it.
    return {line.text: line for line in sorted(lines, key=lambda line: not line.not_measured)}


def read_predictions(file: Path) -> list[TextRecord]:
    """Read which texts an arm's server read.

    Raises:
        HarnessError: The file is missing, or a line is no record.
    """
    return read_lines(file, TextRecord, "a text")


def read_pieces(file: Path) -> dict[int, str]:
    """Read the tokens as text that an arm's server told; none where there is no such file.

    Raises:
        HarnessError: A line is none.
    """
    return {piece.token: piece.text for piece in read_lines(file, Piece, "a token as text")} if file.exists() else {}
