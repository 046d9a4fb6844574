"""A question's sample: of what is known of it before, what the server said, and what lm-eval makes of that."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.utils import handle_non_serializable

from harness.ask.lm_eval_model import Asked, Outcome
from harness.ask.load_task import right_choice
from harness.errors import HarnessError
from harness.records.samples import Sample

# What lm-eval divides a choice's log-probability by, where its metric is not the plain one.
_LENGTHS: dict[str, Callable[[str], int]] = {
    "acc_norm": str.__len__,
    "acc_bytes": lambda choice: len(choice.encode()),
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question with all that can be known of it before it is asked.

    Attributes:
        number: Its number in the order of asking.
        row: Its number in the data.
        asked: It as it goes to the server.
        target: Its right answer, as lm-eval has it.
        worded: Its choices as the task words them; none for a generated answer.
        doc_hash: Hash of its row, as lm-eval's `evaluate` writes it.
        cluster: SHA-256 of what it shares with other questions, or None.
    """

    number: int
    row: int
    asked: Asked
    target: object
    worded: list[str]
    doc_hash: str
    cluster: str | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What lm-eval makes of a question's answers.

    Attributes:
        filter: The filter that read them.
        answer: The first of them as it reads it.
        metric: The metric that says whether it is right.
        value: What that says.
    """

    filter: str
    answer: Any
    metric: str
    value: object


def sample_of(task: str, question: Question, judged: Judged, outcomes: Sequence[Outcome]) -> Sample:
    """Return the sample of a question.

    Args:
        task: The task.
        question: The question.
        judged: What lm-eval makes of its answers.
        outcomes: What the server said to each of its requests.

    Raises:
        HarnessError: The metric is no right or wrong.
    """
    error = next((outcome["error"] for outcome in outcomes if outcome["error"] is not None), None)
    choices = None if outcomes[0]["choice"] is None else [outcome["choice"].strip() for outcome in outcomes]
    logprobs = [outcome["logprob"] for outcome in outcomes] if choices and error is None else None
    answer, target = judged.answer, str(question.target)
    if choices:
        target = choices[right_choice(question.target, question.worded) or 0]
    if choices and logprobs:
        length = _LENGTHS.get(judged.metric)
        lengths = [length(choice) if length is not None else 1 for choice in question.worded]
        norms = [logprob / size for logprob, size in zip(logprobs, lengths, strict=True)]
        answer = choices[max(range(len(choices)), key=norms.__getitem__)]
    if error is None and judged.value not in (0, 1):
        raise HarnessError(
            f"{task}: {judged.metric} is {judged.value!r} of question {question.number}, where right and wrong are 1 "
            "and 0, by which arms are paired: name another metric"
        )
    return Sample(
        task=task,
        filter=judged.filter,
        doc_id=question.number,
        row=question.row,
        doc_hash=question.doc_hash,
        target=target,
        answer=answer if error is None else None,
        cluster=question.cluster,
        right=bool(judged.value) if error is None else None,
        choices=choices if error is None else None,
        logprobs=logprobs,
        error=error,
        **{
            name: outcomes[0][name]
            for name in (
                "prompt_hash",
                "prompt_tokens",
                "first_tokens",
                "text",
                "generated_tokens",
                "finish_reason",
            )
        },
    )


def hash_document(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document, as lm-eval's `evaluate` writes it."""
    text = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
