"""Asks one server for its predictions of the fixed texts and keeps them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.client import Client, Prediction, RequestFailed
from harness.fidelity.records import DECIMALS, TextRecord
from harness.fidelity.settings import FidelityPlan
from harness.fidelity.texts import Text
from harness.records import write_lines
from harness.sglang_plugin.study_folder import hash_tokens


def predict_texts(
    texts: Sequence[Text],
    client: Client,
    plan: FidelityPlan,
    *,
    file: Path,
    after_failure: Callable[[], None],
    advance: Callable[[], None],
) -> None:
    """Write a record of each text, in the texts' order; `concurrency` of them go out as one request.

    Args:
        texts: The texts.
        client: The server.
        plan: How much of each text, and what is read.
        file: The file to write.
        after_failure: Called after each failed request; it raises if the server is gone.
        advance: Called after each text.

    Raises:
        HarnessError: The server is gone.
        OSError: The file cannot be written.
    """

    def ask() -> Iterator[TextRecord]:
        for start in range(0, len(texts), plan.concurrency):
            batch = texts[start : start + plan.concurrency]
            found = _records(batch, client, plan)
            for record in found:
                advance()
                yield record
            if any(record.error is not None for record in found):
                after_failure()

    write_lines(file, ask())


def protocol_text(plan: FidelityPlan) -> str:
    """Return the protocol in one line."""
    texts = ", ".join(f"{count} of {source}" for source, count in plan.texts.items())
    return f"{texts}; to {plan.max_tokens} tokens; the {plan.top_k} most likely; BOS: what the tokenizer adds"


def protocol(plan: FidelityPlan) -> dict[str, Any]:
    """Return everything that decides what is asked and how it is read, for the report."""
    return {
        "texts": plan.texts,
        "from": "the first of each; gsm8k: question and gold solution, boolq: passage",
        "max_tokens": plan.max_tokens,
        "top_k": plan.top_k,
        "concurrency": plan.concurrency,
        "bos": "what the tokenizer adds",
        "generated": 0,
    }


def _records(batch: Sequence[Text], client: Client, plan: FidelityPlan) -> list[TextRecord]:
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
        pieces=[of.actual.piece for of in predictions],
        logprobs=[round(of.actual.logprob, DECIMALS) for of in predictions],
        top_tokens=[[likely.token for likely in of.top] for of in predictions],
        top_logprobs=[[round(likely.logprob, DECIMALS) for likely in of.top] for of in predictions],
        best=[of.top[0].piece for of in predictions],
    )
