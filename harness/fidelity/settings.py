"""What people write, and what is planned, of the predictions of fixed text."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.yaml_file import Strict

Positive = Annotated[int, Field(gt=0)]


class FidelityThreshold(Strict):
    """How far compression may move one model's predictions of fixed text.

    Attributes:
        max_mean_kl: Largest mean KL divergence of the next token's distribution from the baseline's, in nats.
        min_same_top: Smallest share of predictions whose most likely token stays the same, 0 to 1.
        source: Where the numbers come from.
    """

    max_mean_kl: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    min_same_top: Annotated[float, Field(ge=0, le=1)] | None = None
    source: str

    @model_validator(mode="after")
    def _judges(self) -> Self:
        if self.max_mean_kl is None and self.min_same_top is None:
            raise ValueError("judges nothing: give a `max_mean_kl` or a `min_same_top`, or leave the row out")
        return self


class FidelityPlan(Strict):
    """Which fixed texts every arm predicts, and what is read of it.

    Attributes:
        texts: How many texts of which source, from the first on.
        max_tokens: Where a text is cut.
        top_k: How many of the most likely next tokens are read.
        concurrency: Texts sent at once, as one request; the same in all arms.
        threshold: What is accepted; None: a large shift is a warning.
    """

    texts: dict[str, int]
    max_tokens: int
    top_k: int
    concurrency: int
    threshold: FidelityThreshold | None


class FidelityRun(Strict):
    """Which fixed texts both arms predict, and what is read of it. Without this key of a suite, none.

    Attributes:
        gsm8k: How many of GSM8K's questions with their gold solutions.
        boolq: How many of BoolQ's passages.
        max_tokens: Where a text is cut.
        top_k: How many of the most likely next tokens are read.
        concurrency: Texts sent at once, as one request; the same in all arms.
    """

    gsm8k: Positive | None = None
    boolq: Positive | None = None
    max_tokens: Annotated[int, Field(ge=2)] = 128
    top_k: Positive = 20
    concurrency: Positive = 1

    @property
    def texts(self) -> dict[str, int]:
        """How many texts of which source."""
        return {source: count for source, count in (("gsm8k", self.gsm8k), ("boolq", self.boolq)) if count}

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if not self.texts:
            raise ValueError("names no text: give `gsm8k`, `boolq` or both, or leave `fidelity` out")
        return self

    def plan(self, threshold: FidelityThreshold | None, *, limit: int | None) -> FidelityPlan:
        """Plan it.

        Args:
            threshold: What is accepted.
            limit: At most so many texts of each source.
        """
        return FidelityPlan(
            texts={source: min(count, limit or count) for source, count in self.texts.items()},
            max_tokens=self.max_tokens,
            top_k=self.top_k,
            concurrency=self.concurrency,
            threshold=threshold,
        )
