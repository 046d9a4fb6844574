"""Sends lm-eval's requests to one server and keeps what lm-eval does not.

Ours and none of lm-eval's API models, since these send two requests where one will do, cut prompts at 2,047 tokens,
and give an empty answer for a failed request, which then counts as a wrong one.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lm_eval.api.instance import Instance

from harness.records.run import durable
from harness.serve.answers import RequestFailed
from harness.serve.client import Client
from harness.sglang_plugin.study_folder import hash_tokens

Outcome = dict[str, Any]
FIRST_TOKENS = 3
# What lm-eval is told of a failed request, since it must be told a number. Its sample is marked as failed and no
# result rests on it. Finite, for lm-eval takes a softmax of it.
NO_SCORE = -1e9


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question as it goes to the server.

    Attributes:
        instances: lm-eval's requests that make it up: one, or one a choice.
        prompt: Token ids.
        choices: Token ids of each choice; none for a text to be generated.
        failed: Why there are no token ids, or None.
        known: What its outcomes say of its prompt.
    """

    instances: list[Instance]
    prompt: list[int]
    choices: list[list[int]]
    failed: RequestFailed | None
    known: Outcome


# For each question what is known of each of its requests, or why nothing is.
Answers: TypeAlias = list[list[Outcome] | RequestFailed]


class ServerModel:
    """What lm-eval would call a model: one server, as one task asks it.

    Args:
        client: The server.
        special_tokens: Whether the tokenizer adds its own tokens to a prompt.
        max_new_tokens: Where a generated text is cut, by lm-eval's options of it.
    """

    def __init__(
        self,
        client: Client,
        *,
        special_tokens: bool,
        max_new_tokens: Callable[[Mapping[str, Any]], int],
    ) -> None:
        self.client = client
        self._special_tokens = special_tokens
        self._max_new_tokens = max_new_tokens

    def prepare(self, questions: Sequence[list[Instance]]) -> list[Asked]:
        """Return questions as token ids, all texts made tokens by one request.

        Args:
            questions: Each one's requests of lm-eval's, one or one a choice, all of one prompt.
        """
        texts = [_texts(instances) for instances in questions]
        every = [text for own in texts for text in own]
        tokens = iter(self.client.tokenize_many(every, special=self._special_tokens))
        return [
            _asked(instances, [next(tokens) for _ in own]) for instances, own in zip(questions, texts, strict=True)
        ]

    def ask(
        self, batch: Sequence[Asked], *, lengths: Sequence[int], meanwhile: Callable[[], None]
    ) -> list[list[Outcome]]:
        """Ask questions in one request; return each one's outcomes, one a request of lm-eval's, and tell lm-eval.

        Generated texts that will be long begin first, where the server takes fewer at once than are sent: the last
        ones to begin are waited for by everybody, so they should be short.

        Args:
            batch: The questions; those without token ids have failed already.
            lengths: How long each one's answer will be, beside the others'.
            meanwhile: Called as the server is at work on them.
        """
        sent = [index for index, question in enumerate(batch) if question.failed is None]
        scored = bool(sent) and batch[sent[0]].instances[0].request_type == "loglikelihood"
        order = sent if scored else sorted(sent, key=lambda index: -lengths[index])
        answer = self._score if scored else self._generate
        found = dict(zip(order, answer([batch[index] for index in order], meanwhile) if order else (), strict=True))
        return [_outcomes(question, question.failed or found[index]) for index, question in enumerate(batch)]

    def _score(self, batch: list[Asked], meanwhile: Callable[[], None]) -> Answers:
        asked = [(question.prompt, question.choices) for question in batch]
        return [
            scores
            if isinstance(scores, RequestFailed)
            else [
                {"logprob": logprob, "greedy": greedy}
                for logprob, greedy in zip(scores.logprobs, scores.greedy, strict=True)
            ]
            for scores in self.client.score_many(asked, meanwhile=meanwhile)
        ]

    def _generate(self, batch: list[Asked], meanwhile: Callable[[], None]) -> Answers:
        # A task's options are the same for each of its questions.
        options = batch[0].instances[0].args[1]
        answered = self.client.generate_many(
            [question.prompt for question in batch],
            max_new_tokens=self._max_new_tokens(options),
            stop=[options["until"]] if isinstance(options["until"], str) else options["until"],
            meanwhile=meanwhile,
        )
        return [
            entry
            if isinstance(entry, RequestFailed)
            else [{"text": entry.text, "finish_reason": entry.finish_reason, "generated_tokens": entry.tokens}]
            for entry in answered
        ]


def _texts(instances: Sequence[Instance]) -> list[str]:
    """Return what a question's token ids are made of: its prompt, and its prompt with each choice."""
    scored = instances[0].request_type == "loglikelihood"
    return [instances[0].args[0], *(instance.args[0] + instance.args[1] for instance in instances if scored)]


def _asked(instances: list[Instance], tokens: Sequence[list[int] | RequestFailed]) -> Asked:
    whole = [entry for entry in tokens if not isinstance(entry, RequestFailed)]
    failed = next((entry for entry in tokens if isinstance(entry, RequestFailed)), None)
    prompt, choices = ([], []) if failed else _cut(whole[0], whole[1:])
    known = _of_prompt(prompt) if failed is None else {"prompt_hash": "", "prompt_tokens": 0, "first_tokens": []}
    return Asked(instances=instances, prompt=prompt, choices=choices, failed=failed, known=known)


def _cut(context: list[int], wholes: Sequence[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Return a prompt and its choices: a tokenizer may merge the end of the one with the other.

    All are cut where all agree.
    """
    if not wholes:
        return context, []
    shared = min(_shared(context, whole) for whole in wholes)
    return context[:shared], [whole[shared:] for whole in wholes]


def _shared(context: list[int], whole: list[int]) -> int:
    """Return how many leading tokens of `context` also lead `whole`, leaving at least one of `whole`."""
    limit = min(len(context), len(whole) - 1)
    if context[:limit] == whole[:limit]:
        return limit
    return next(index for index in range(limit) if context[index] != whole[index])


def _of_prompt(prompt: Sequence[int]) -> Outcome:
    return {
        "prompt_hash": hash_tokens(prompt),
        "prompt_tokens": len(prompt),
        "first_tokens": list(prompt[:FIRST_TOKENS]),
    }


def _outcomes(asked: Asked, answer: list[Outcome] | RequestFailed) -> list[Outcome]:
    """Return a question's outcomes as they are kept, and put into lm-eval's requests what they say."""
    found: list[Outcome] = answer if isinstance(answer, list) else [{"error": str(answer)}] * len(asked.instances)
    outcomes = []
    for instance, own in zip(asked.instances, found, strict=True):
        scored = instance.request_type == "loglikelihood"
        outcome = {
            "error": None,
            **asked.known,
            "choice": str(instance.args[1]) if scored else None,
            "text": None,
            "generated_tokens": None,
            "finish_reason": None,
            **own,
        }
        said = (outcome.get("logprob", NO_SCORE), outcome.get("greedy", False)) if scored else outcome["text"] or ""
        instance.resps, instance.filtered_resps = [said], {}
        outcomes.append(outcome)
    return outcomes


@contextmanager
def appending(file: Path) -> Iterator[Callable[[Outcome], None]]:
    """Give a function that adds one line of JSON to `file`, and does not buffer it."""
    with durable(file, "a") as out:

        def write(outcome: Outcome) -> None:
            out.write(json.dumps(outcome, ensure_ascii=False) + "\n")

        yield write
