"""What one arm predicted of one text, what its server found of it, and their files: one line of JSON a text."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from harness.records.run import read_lines
from harness.strict import Strict

# Its name among the tasks.
FIDELITY = "fidelity"
# Decimals of a log-probability that are kept: fp32 itself resolves 1e-6 at a log-probability of -10.
DECIMALS = 6


class TextRecord(Strict):
    """One arm's predictions of one text. Prediction i is of token i + 1, after the tokens 0 to i.

    Attributes:
        text: The text's name.
        text_hash: SHA-256 of the whole text.
        token_hash: SHA-256 of the token ids that were sent.
        tokens: Those ids.
        pieces: The token that follows as text; one a prediction.
        logprobs: Natural log-probability of the token that follows; one a prediction.
        best: The most likely token as text; one a prediction.
        error: Why the request failed, or None; then the predictions are empty.
    """

    text: str
    text_hash: str
    token_hash: str = ""
    tokens: list[int] = Field(default_factory=list)
    pieces: list[str] = Field(default_factory=list)
    logprobs: list[float] = Field(default_factory=list)
    best: list[str] = Field(default_factory=list)
    error: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.error is not None:
            return self
        predictions = len(self.tokens) - 1
        if {len(found) for found in (self.pieces, self.logprobs, self.best)} != {predictions}:
            raise ValueError(f"{len(self.tokens)} tokens need {predictions} predictions")
        return self


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
    kl: list[float]
    baseline: list[float]
    candidate: list[float]
    same_top: list[bool]


class CompareLine(TextPredictions):
    """A line of what a server's plugin writes of a text: see harness.sglang_plugin.predictions.

    Attributes:
        policy: The policy in force.
        reference: That of the reference it was compared with; None where it was not.
        kept: Tokens, where it is kept as a reference.
        not_measured: Why it is neither; empty where it is.
    """

    policy: int
    reference: int | None = None
    kept: int | None = None
    not_measured: str = ""
    kl: list[float] = Field(default_factory=list)
    baseline: list[float] = Field(default_factory=list)
    candidate: list[float] = Field(default_factory=list)
    same_top: list[bool] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({len(column) for column in (self.kl, self.baseline, self.candidate, self.same_top)}) > 1:
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
    """Read an arm's predictions.

    Raises:
        HarnessError: The file is missing, or a line is no record.
    """
    return read_lines(file, TextRecord, "a text's predictions")
