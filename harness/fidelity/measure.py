"""Asks one server for its predictions of the fixed texts and keeps them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.client import Client, Prediction, RequestFailed
from harness.concurrently import concurrently
from harness.fidelity.records import DECIMALS, TextRecord
from harness.fidelity.settings import FidelityPlan
from harness.fidelity.texts import Text
from harness.samples import hash_tokens


def predict_texts(
    texts: Sequence[Text],
    client: Client,
    plan: FidelityPlan,
    *,
    file: Path,
    after_failure: Callable[[], None],
    advance: Callable[[], None],
) -> None:
    """Write a record of each text, in the texts' order, each as soon as those before it are there.

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

    def ask(text: Text) -> TextRecord:
        try:
            tokens = client.tokenize(text.content)[: plan.max_tokens]
            record = _record(text, tokens, client.predict(tokens, top=plan.top_k))
        except RequestFailed as error:
            record = TextRecord(text=text.name, text_hash=text.hash, error=str(error))
            after_failure()
        advance()
        return record

    with file.open("w", encoding="utf-8", buffering=1) as out:
        out.writelines(record.model_dump_json() + "\n" for record in concurrently(ask, texts, plan.concurrency))


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
