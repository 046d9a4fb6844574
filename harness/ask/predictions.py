"""Asks one server for its predictions of the fixed texts and keeps them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.ask.texts import Text, build_texts
from harness.plan.plan import FidelityPlan
from harness.records.predictions import DECIMALS, FIDELITY, TextRecord
from harness.records.run import write_lines
from harness.records.run_folder import ArmFolder
from harness.serve.answers import Prediction, RequestFailed
from harness.serve.client import Client
from harness.sglang_plugin.study_folder import hash_tokens


class FixedTexts:
    """The fixed texts of a plan, as a questionnaire: a prediction after every token of each.

    Attributes:
        plan: How much of each text, and what is read.
        texts: The texts.
    """

    name = FIDELITY
    unit = "texts"

    def __init__(self, plan: FidelityPlan, data: Path) -> None:
        """Read the texts.

        Args:
            plan: Which texts, how much of each, and what is read.
            data: The prepared data.

        Raises:
            HarnessError: The data lacks a file or texts; all at once.
        """
        self.plan = plan
        self.texts = build_texts(data, plan.texts)

    @property
    def questions(self) -> int:
        """How many texts there are."""
        return len(self.texts)

    def protocol(self) -> dict[str, Any]:
        """Return everything that decides what is asked and how it is read."""
        return self.plan.protocol()

    def protocol_text(self) -> str:
        """Return the protocol in one line."""
        return self.plan.protocol_text()

    @property
    def concurrency(self) -> int:
        """How many texts go out at once."""
        return self.plan.concurrency

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        threshold = self.plan.threshold
        return str(threshold.model_dump(exclude_none=True)) if threshold else "none: a large shift is a WARNING"

    def contents(self) -> list[str]:
        """Return the texts."""
        return [text.content for text in self.texts]

    def ask(
        self,
        client: Client,
        part: range,
        *,
        folder: ArmFolder,
        after_failure: Callable[[], None],
        advance: Callable[[], None],
    ) -> None:
        """Add a record of each text, in the texts' order; `concurrency` of them go out as one request.

        Args and errors are those of `Questionnaire.ask`.
        """

        def records() -> Iterator[TextRecord]:
            for start in range(part.start, part.stop, self.plan.concurrency):
                batch = self.texts[start : min(start + self.plan.concurrency, part.stop)]
                found = predict_batch(batch, client, self.plan)
                for record in found:
                    advance()
                    yield record
                if any(record.error is not None for record in found):
                    after_failure()

        write_lines(folder.predictions, records())


def predict_batch(batch: Sequence[Text], client: Client, plan: FidelityPlan) -> list[TextRecord]:
    """Return a record of each text, failed ones included; all go out as one request."""
    try:
        tokens = [client.tokenize(text.content)[: plan.max_tokens] for text in batch]
    except RequestFailed as error:
        return [_failed(text, error) for text in batch]
    answers = client.predict_many(tokens, top=plan.top_k)
    return [
        _failed(text, answer) if isinstance(answer, RequestFailed) else _record(text, sent, answer)
        for text, sent, answer in zip(batch, tokens, answers, strict=True)
    ]


def _failed(text: Text, why: RequestFailed) -> TextRecord:
    return TextRecord(text=text.name, text_hash=text.hash, error=str(why))


def _record(text: Text, tokens: list[int], predictions: Sequence[Prediction]) -> TextRecord:
    return TextRecord(
        text=text.name,
        text_hash=text.hash,
        token_hash=hash_tokens(tokens),
        tokens=tokens,
        pieces=[prediction.actual.piece for prediction in predictions],
        logprobs=[round(prediction.actual.logprob, DECIMALS) for prediction in predictions],
        top_tokens=[[entry.token for entry in prediction.top] for prediction in predictions],
        top_logprobs=[[round(entry.logprob, DECIMALS) for entry in prediction.top] for prediction in predictions],
        best=[prediction.top[0].piece for prediction in predictions],
    )
