"""One question's result in one arm, its file form, and the pairing of both arms' results."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import FiniteFloat, model_validator

from harness.records.run import read_lines, write_lines
from harness.strict import Strict

# How the error of a request begins whose answer held a log-probability that is no number.
NO_NUMBERS = "the server gives no numbers"


class Sample(Strict):
    """One question, answered or failed, in one arm, as one filter of its task reads the answer.

    Attributes:
        task: The task.
        filter: lm-eval's filter that read the answer.
        doc_id: The question's number in the order of asking, from 0.
        row: Its number among the task's scored documents, in the order of the data.
        doc_hash: Hash of the document (SHA-256, lm-eval's).
        prompt_hash: SHA-256 of the token ids that were sent.
        prompt_tokens: How many those are.
        first_tokens: The first few of them: here BOS is or is not.
        target: The right answer.
        answer: The answer as the filter reads it, or the chosen choice; None where the request failed.
        right: Whether it is right; None where the request failed.
        choices: The scored choices, or None for a generated answer.
        logprobs: Their natural log-probabilities, in the same order.
        text: The generated text, or None for scored choices.
        generated_tokens: Tokens generated.
        finish_reason: `stop` or `length`, for a generated answer.
        cluster: What it shares with other questions (SHA-256 of the passage), or None: those are not independent.
        error: Why the request failed, or None.
    """

    task: str
    filter: str
    doc_id: int
    row: int
    doc_hash: str
    prompt_hash: str
    prompt_tokens: int
    first_tokens: list[int]
    target: str
    answer: str | None
    right: bool | None
    choices: list[str] | None = None
    logprobs: list[FiniteFloat] | None = None
    text: str | None = None
    generated_tokens: int | None = None
    finish_reason: str | None = None
    cluster: str | None = None
    error: str | None = None

    @model_validator(mode="after")
    def _true_to_itself(self) -> Self:
        if self.logprobs is not None and len(self.logprobs) != len(self.choices or ()):
            raise ValueError(f"{len(self.choices or ())} choices have {len(self.logprobs)} log-probabilities")
        # lm-eval goes by a choice's number: of two choices that read alike one is right and the other is not.
        known = self.choices is not None and self.right is not None and self.choices.count(self.target) == 1
        if known and self.right != (self.answer == self.target):
            raise ValueError(f"the answer {self.answer!r}, with {self.target!r} right, is said to be {self.right}")
        return self

    @property
    def key(self) -> tuple[str, str, int]:
        """What a sample is paired by: task, filter and document."""
        return (self.task, self.filter, self.doc_id)

    @property
    def gives_no_numbers(self) -> bool:
        """Whether the request failed because a log-probability is no number."""
        return self.error is not None and self.error.startswith(NO_NUMBERS)


def write_samples(file: Path, samples: Iterable[Sample]) -> None:
    """Add one sample a line to a file.

    Raises:
        OSError: The file cannot be written.
    """
    write_lines(file, samples)


def read_samples(file: Path) -> list[Sample]:
    """Read what `write_samples` wrote.

    Raises:
        HarnessError: The file is missing, or a line is not a sample.
    """
    return read_lines(file, Sample, "a sample")
