"""What one arm predicted of one text, and its file form: one line of JSON a text."""

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
        top_tokens: Ids of the k most likely tokens; k a prediction, in any order.
        top_logprobs: Their natural log-probabilities, in the same order.
        best: The most likely token as text; one a prediction.
        error: Why the request failed, or None; then the predictions are empty.
    """

    text: str
    text_hash: str
    token_hash: str = ""
    tokens: list[int] = Field(default_factory=list)
    pieces: list[str] = Field(default_factory=list)
    logprobs: list[float] = Field(default_factory=list)
    top_tokens: list[list[int]] = Field(default_factory=list)
    top_logprobs: list[list[float]] = Field(default_factory=list)
    best: list[str] = Field(default_factory=list)
    error: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.error is not None:
            return self
        predictions = len(self.tokens) - 1
        lengths = {
            len(logprobs) for logprobs in (self.pieces, self.logprobs, self.top_tokens, self.top_logprobs, self.best)
        }
        tops = [len(ids) == len(logprobs) for ids, logprobs in zip(self.top_tokens, self.top_logprobs, strict=False)]
        if lengths != {predictions} or not all(tops):
            raise ValueError(f"{len(self.tokens)} tokens need {predictions} predictions, each whole")
        return self


def read_predictions(file: Path) -> list[TextRecord]:
    """Read an arm's predictions.

    Raises:
        HarnessError: The file is missing, or a line is no record.
    """
    return read_lines(file, TextRecord, "a text's predictions")
