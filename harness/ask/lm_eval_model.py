"""lm-eval's model: sends its requests to one server and keeps what lm-eval does not.

A model class of our own, since lm-eval's API models send two requests where one will do, cut prompts at 2,047 tokens,
and give an empty answer for a failed request, which then counts as a wrong one.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from harness.ask.chat import Renderings
from harness.ask.concurrently import concurrently
from harness.errors import HarnessError
from harness.records.run import durable
from harness.serve.answers import RequestFailed
from harness.serve.client import Client
from harness.sglang_plugin.study_folder import hash_tokens

Outcome = dict[str, Any]
Key = tuple[int, int]
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
    """

    instances: list[Instance]
    prompt: list[int]
    choices: list[list[int]]


# For each question what is known of each of its requests, or why nothing is.
Answers: TypeAlias = list[list[Outcome] | RequestFailed]


class ServerModel(LM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's model: sends requests to one server and keeps what lm-eval does not."""

    def __init__(
        self,
        client: Client,
        *,
        concurrency: int,
        special_tokens: bool,
        chat: Renderings | None = None,
        max_new_tokens: Callable[[Mapping[str, Any]], int],
        expected_length: Callable[[Mapping[str, Any]], int],
        write: Callable[[Outcome], None],
        after_failure: Callable[[], None],
        advance: Callable[[], None],
        first_document: int,
    ) -> None:
        super().__init__()
        self.outcomes: dict[Key, Outcome] = {}
        self._client = client
        self._concurrency = concurrency
        self._special_tokens = special_tokens
        # lm-eval looks for it by name.
        if chat is not None:
            self.apply_chat_template = chat
        self._max_new_tokens = max_new_tokens
        self._expected_length = expected_length
        self._write = write
        self._after_failure = after_failure
        self._advance = advance
        # lm-eval numbers the documents of a part from 0, and its samples by the whole.
        self._first_document = first_document

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval would keep prompts under, in a cache that is not used."""
        return "the server's"

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score continuations; those of one document and prompt are one question."""
        documents: dict[tuple[int, str], list[Instance]] = defaultdict(list)
        for instance in requests:
            documents[_doc_id(instance), instance.args[0]].append(instance)
        self._in_batches(self._score, list(documents.values()))
        outcomes = [self.outcomes[self._key(instance)] for instance in requests]
        return [
            (outcome["logprob"], outcome["greedy"]) if outcome["error"] is None else (NO_SCORE, False)
            for outcome in outcomes
        ]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Generate one text for each request."""
        self._in_batches(self._generate, [[request] for request in requests])
        return [self.outcomes[self._key(instance)]["text"] or "" for instance in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Refuse: no task of ours asks for it."""
        raise NotImplementedError(f"no task of the harness scores whole texts, {len(requests)} requests do")

    def _in_batches(self, ask: Callable[[list[Asked]], Answers], questions: Sequence[list[Instance]]) -> None:
        """Ask `concurrency` questions at a time, in order, each batch in one request, and keep every outcome."""
        for start in range(0, len(questions), self._concurrency):
            batch = questions[start : start + self._concurrency]
            prepared = list(concurrently(self._prepared, batch, self._concurrency))
            answered = iter(ask([question for question in prepared if not isinstance(question, RequestFailed)]))
            answers = [question if isinstance(question, RequestFailed) else next(answered) for question in prepared]
            for instances, asked, answer in zip(batch, prepared, answers, strict=True):
                common = _outcome() | ({} if isinstance(asked, RequestFailed) else _of_prompt(asked.prompt))
                if isinstance(answer, RequestFailed):
                    found = [{"error": str(answer), "choice": _choice(instance)} for instance in instances]
                else:
                    found = answer
                for instance, outcome in zip(instances, found, strict=True):
                    self._keep(instance, common | outcome)
                self._advance()
            if any(isinstance(answer, RequestFailed) for answer in answers):
                self._after_failure()

    def _prepared(self, instances: list[Instance]) -> Asked | RequestFailed:
        """Return a question as token ids: a prompt, and its choices if it has any."""
        scored = instances[0].request_type == "loglikelihood"
        try:
            context = self._tokens(instances[0].args[0])
            if not scored:
                return Asked(instances=instances, prompt=context, choices=[])
            wholes = [self._tokens(choice.args[0] + choice.args[1]) for choice in instances]
        except RequestFailed as error:
            return error
        # A tokenizer may merge the end of the prompt with the choice: both are cut where all agree.
        shared = min(_shared(context, whole) for whole in wholes)
        return Asked(instances=instances, prompt=context[:shared], choices=[whole[shared:] for whole in wholes])

    def _score(self, batch: list[Asked]) -> Answers:
        found = self._client.score_many([(question.prompt, question.choices) for question in batch])
        return [
            scores
            if isinstance(scores, RequestFailed)
            else [
                {"choice": _choice(choice), "logprob": logprob, "greedy": greedy}
                for choice, logprob, greedy in zip(asked.instances, scores.logprobs, scores.greedy, strict=True)
            ]
            for asked, scores in zip(batch, found, strict=True)
        ]

    def _generate(self, batch: list[Asked]) -> Answers:
        """Generate texts; those that will be long begin first, where the server takes fewer at once than are sent.

        The last ones to begin are waited for by everybody, so they should be short.
        """
        if not batch:
            return []
        # A task's options are the same for each of its questions.
        options = batch[0].instances[0].args[1]
        lengths = [self._expected_length(question.instances[0].doc) for question in batch]
        order = sorted(range(len(batch)), key=lambda index: -lengths[index])
        answered = self._client.generate_many(
            [batch[index].prompt for index in order],
            max_new_tokens=self._max_new_tokens(options),
            stop=[options["until"]] if isinstance(options["until"], str) else options["until"],
        )
        found = [entry for _, entry in sorted(zip(order, answered, strict=True), key=itemgetter(0))]
        return [
            entry
            if isinstance(entry, RequestFailed)
            else [{"text": entry.text, "finish_reason": entry.finish_reason, "generated_tokens": entry.tokens}]
            for entry in found
        ]

    def _tokens(self, text: str) -> list[int]:
        return self._client.tokenize(text, special=self._special_tokens)

    def _keep(self, instance: Instance, outcome: Outcome) -> None:
        document, request = key = self._key(instance)
        self.outcomes[key] = outcome
        self._write({"task": instance.task_name, "doc_id": document, "request": request, **outcome})

    def _key(self, instance: Instance) -> Key:
        return (self._first_document + _doc_id(instance), instance.idx)


def _outcome() -> Outcome:
    return {
        "error": None,
        "prompt_hash": "",
        "prompt_tokens": 0,
        "first_tokens": [],
        "choice": None,
        "text": None,
        "generated_tokens": None,
        "finish_reason": None,
    }


def _of_prompt(prompt: Sequence[int]) -> Outcome:
    return {
        "prompt_hash": hash_tokens(prompt),
        "prompt_tokens": len(prompt),
        "first_tokens": list(prompt[:FIRST_TOKENS]),
    }


def _shared(context: Sequence[int], whole: Sequence[int]) -> int:
    """Return how many leading tokens of `context` also lead `whole`, leaving at least one of `whole`."""
    limit = min(len(context), len(whole) - 1)
    return next((index for index in range(limit) if context[index] != whole[index]), limit)


def _choice(instance: Instance) -> str | None:
    """Return the choice that a request scores; None where it asks for a text."""
    return str(instance.args[1]) if instance.request_type == "loglikelihood" else None


def _doc_id(instance: Instance) -> int:
    if instance.doc_id is None:
        raise HarnessError("lm-eval built a request without a document number")
    return int(instance.doc_id)


@contextmanager
def appending(file: Path) -> Iterator[Callable[[Outcome], None]]:
    """Give a function that adds one line of JSON to `file`, from any thread, and does not buffer it."""
    lock = Lock()
    with durable(file, "a") as out:

        def write(outcome: Outcome) -> None:
            with lock:
                out.write(json.dumps(outcome, ensure_ascii=False) + "\n")

        yield write
