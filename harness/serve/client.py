"""Talks to one SGLang server, by the native endpoints that evaluation needs. Sends token ids, never text.

Nothing is retried: a request that failed once is a finding, and a retry would hide it. Prompts that were refused as
one request are asked one by one, once, so that each is blamed for itself alone; `Traffic.alone` counts them.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, starmap, takewhile
from typing import Any, Self, TypeAlias, TypeVar

from harness.records.run import Traffic
from harness.serve.answers import (
    Answer,
    BatchRefused,
    Body,
    Generation,
    RequestFailed,
    Scores,
    from_one_pass,
    read_answer,
    read_pieces,
    read_scores,
    read_token_lists,
    read_tokens,
)
from harness.serve.connection import REACHABLE_TIMEOUT_S, Connection
from harness.serve.waiting import Waiting

# How long SGLang may wait until it is idle.
FLUSH_TIMEOUT_S = 30

# Tokens. What prompts share is worth a request of its own from here on: the examples of a few-shot task, say.
SHARED_PREFIX = 64

# Letters. A server does nothing else as it makes tokens of a request's texts: about a tenth of a second for so many.
TOKENIZED_AT_ONCE = 2**18

Question: TypeAlias = tuple[Sequence[int], Sequence[Sequence[int]]]
AnswerT = TypeVar("AnswerT")


class Client:
    """One server's endpoints.

    Attributes:
        url: Where it is.
        api_key: Its key.
        traffic: What the server said it was asked, so far.
    """

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        self.url, self.api_key = url, api_key
        self.traffic = Traffic()
        self._connection = Connection(url, api_key, timeout_s=timeout_s)
        # Answers name the request that they are of.
        self._name, self._numbers = secrets.token_hex(4), count()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connection."""
        self._connection.__exit__()

    @property
    def waiting(self) -> Waiting:
        """How long it was waited for, so far."""
        return self._connection.waiting

    def healthy(self, timeout_s: float = REACHABLE_TIMEOUT_S) -> bool:
        """Return whether the server says within `timeout_s` that it is up; it generates a token to be sure."""
        try:
            status, _ = self._connection.exchange("GET", "/health", timeout_s=timeout_s)
        except RequestFailed:
            return False
        return status == 200  # noqa: PLR2004 - HTTP's OK

    def reachable(self) -> bool:
        """Return whether anything answers at all, be it with an error."""
        return self._connection.reachable()

    def server_info(self) -> dict[str, Any]:
        """Return the arguments that the server runs with.

        Raises:
            RequestFailed: There was no answer.
        """
        info = self._connection.ask("GET", "/get_server_info")
        if not isinstance(info, dict):
            raise RequestFailed("GET /get_server_info: the answer is no record")
        return info

    def flush_cache(self) -> None:
        """Empty the prefix cache, so that no task profits from the one before it.

        Raises:
            RequestFailed: There was no answer, or the server was busy.
        """
        self._connection.ask("POST", f"/flush_cache?timeout={FLUSH_TIMEOUT_S}", as_json=False)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the token ids of `text`, with the tokenizer's own special tokens unless `special` is false.

        Raises:
            RequestFailed: There was no answer.
        """
        return read_tokens(
            self._connection.ask("POST", "/v1/tokenize", {"prompt": text, "add_special_tokens": special})
        )

    def tokenize_many(self, texts: Sequence[str], *, special: bool = True) -> list[list[int] | RequestFailed]:
        """Return the token ids of each text, as `tokenize` does; many go out as one request.

        Returns:
            For each text its token ids, or why there are none. Where a request was refused as a whole, each of its
            texts is asked for once more, alone.
        """
        return [entry for several in _portions(texts) for entry in self._tokens(several, special=special)]

    def _tokens(self, texts: Sequence[str], *, special: bool) -> list[list[int] | RequestFailed]:
        body = {"prompt": list(texts), "add_special_tokens": special}
        try:
            return [*read_token_lists(self._connection.ask("POST", "/v1/tokenize", body), len(texts))]
        except BatchRefused:
            return [self._tokens_alone(text, special=special) for text in texts]
        except RequestFailed as error:
            return [error for _ in texts]

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return each token as text, by itself.

        Args:
            tokens: Their ids, at least one.

        Raises:
            RequestFailed: There was no answer.
        """
        body = {"tokens": [[token] for token in tokens], "skip_special_tokens": False}
        return read_pieces(self._connection.ask("POST", "/v1/detokenize", body), len(tokens))

    def _tokens_alone(self, text: str, *, special: bool) -> list[int] | RequestFailed:
        try:
            return self.tokenize(text, special=special)
        except RequestFailed as error:
            return error

    def score(self, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> Scores:
        """Return the log-probability of each choice after `prompt`: `score_many` of one question.

        Raises:
            RequestFailed: There was no answer.
        """
        return _one(self.score_many([(prompt, choices)]))

    def score_many(
        self, questions: Sequence[Question], *, meanwhile: Callable[[], None] | None = None
    ) -> list[Scores | RequestFailed]:
        """Return the log-probability of each question's choices; all go out as one request.

        One request reaches SGLang's scheduler as one message, so that the questions are batched in the same
        way each time: requests sent at once are batched as they happen to arrive, and a batch's shape changes
        the last bits. Choices of one token each are all read from one forward pass over the prompt.

        Args:
            questions: For each a prompt and its choices, each of at least one token, as token ids.
            meanwhile: Called as the server is at work on them.

        Returns:
            For each question its scores, or why there are none.
        """
        requests = [_scoring(prompt, choices) for prompt, choices in questions]
        answers = iter(self._generate_many([body for bodies in requests for body in bodies], meanwhile))
        return [
            _read([next(answers) for _ in bodies], partial(read_scores, choices))
            for (_prompt, choices), bodies in zip(questions, requests, strict=True)
        ]

    def generate(self, prompt: Sequence[int], *, max_new_tokens: int, stop: Sequence[str]) -> Generation:
        """Continue `prompt` greedily: `generate_many` of one prompt.

        Raises:
            RequestFailed: There was no answer.
        """
        return _one(self.generate_many([prompt], max_new_tokens=max_new_tokens, stop=stop))

    def generate_many(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: Sequence[str],
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Generation | RequestFailed]:
        """Continue each prompt greedily; all go out as one request, for the reason given at `score_many`.

        Args:
            prompts: Token ids.
            max_new_tokens: Tokens after which each is cut.
            stop: Texts that end each.
            meanwhile: Called as the server is at work on them.

        Returns:
            For each prompt its continuation, or why there is none.
        """
        sampling = {"temperature": 0.0, "max_new_tokens": max_new_tokens, "stop": list(stop)}
        answers = self._generate_many(
            [{"input_ids": list(prompt), "sampling_params": sampling} for prompt in prompts], meanwhile
        )
        return [
            answer
            if isinstance(answer, RequestFailed)
            else Generation(text=answer.text, finish_reason=answer.finish_reason, tokens=answer.completion_tokens)
            for answer in answers
        ]

    def prefill_many(self, texts: Sequence[Sequence[int]]) -> list[Answer | RequestFailed]:
        """Have texts prefilled, each as a whole: from an empty cache and as one request.

        What the model makes of them, the server's plugin knows: see harness.sglang_plugin.predictions.

        Args:
            texts: The texts' token ids.

        Returns:
            For each text its answer, or why there is none.
        """
        if not texts:
            return []
        sampling = {"temperature": 0.0, "max_new_tokens": 1}
        try:
            self.flush_cache()
        except RequestFailed as error:
            return [error for _ in texts]
        return self._send([{"input_ids": list(tokens), "sampling_params": sampling} for tokens in texts])

    def _generate_many(
        self, bodies: Sequence[Body], meanwhile: Callable[[], None] | None = None
    ) -> list[Answer | RequestFailed]:
        """Send requests of the same form as one; an abort is of one of them, any other failure of all.

        All of a request that was refused as a whole are asked once more, one by one, from an empty cache.
        """
        answers: dict[int, Answer | RequestFailed] = {}
        forms: dict[frozenset[str], list[int]] = defaultdict(list)
        for index, body in enumerate(bodies):
            forms[frozenset(body)].append(index)
        for form in forms.values():
            together = [bodies[index] for index in form]
            self._prefill_shared(together)
            answers |= zip(form, self._send(together, meanwhile), strict=True)
            meanwhile = None
        return [answers[index] for index in range(len(bodies))]

    def _prefill_shared(self, bodies: Sequence[Body]) -> None:
        """Prefill what all prompts begin with, for them to find it in the prefix cache.

        Prompts of one prefill do not find it in each other, and their few-shot examples would be computed once a
        prompt. Where it fails, it is the prompts' own failures that tell.
        """
        if len(bodies) == 1:
            return
        columns = zip(*(body["input_ids"] for body in bodies), strict=False)
        shared = [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, columns)]
        if len(shared) >= SHARED_PREFIX:
            self._send([{"input_ids": shared, "sampling_params": {"temperature": 0.0, "max_new_tokens": 0}}])

    def _send(
        self, bodies: Sequence[Body], meanwhile: Callable[[], None] | None = None
    ) -> list[Answer | RequestFailed]:
        sent = [{**body, "rid": f"{self._name}-{next(self._numbers)}"} for body in bodies]
        answers = self._answers(sent, meanwhile)
        self.traffic += sum(starmap(_traffic, zip(sent, answers, strict=True)), Traffic())
        if len(sent) > 1 and isinstance(answers[0], BatchRefused):
            try:
                # Some of them may have been prefilled: from an empty cache each is computed whole, in every arm.
                self.flush_cache()
            except RequestFailed:
                return answers
            answers = [answer for body in bodies for answer in self._send([body])]
            self.traffic += Traffic(alone=len(bodies))
        return answers

    def _answers(self, sent: Sequence[Body], meanwhile: Callable[[], None] | None) -> list[Answer | RequestFailed]:
        alone = len(sent) == 1
        body = {name: [body[name] for body in sent] for name in sent[0]}
        try:
            answered = self._connection.ask("POST", "/generate", sent[0] if alone else body, meanwhile=meanwhile)
        except RequestFailed as error:
            return [error for _ in sent]
        found = [answered] if alone else answered
        if not isinstance(found, list) or len(found) != len(sent):
            came = len(found) if isinstance(found, list) else "no list of"
            wrong = BatchRefused(f"{len(sent)} prompts were sent as one request, {came} answers came")
            return [wrong for _ in sent]
        return [_checked(entry, body) for entry, body in zip(found, sent, strict=True)]


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    """Split texts into what goes out as one request: as long as the server's other work may wait for it."""
    portion: list[str] = []
    letters = 0
    for text in texts:
        if portion and letters + len(text) > TOKENIZED_AT_ONCE:
            yield portion
            portion, letters = [], 0
        portion.append(text)
        letters += len(text)
    if portion:
        yield portion


def _traffic(sent: Body, answer: Answer | RequestFailed) -> Traffic:
    if isinstance(answer, RequestFailed):
        return Traffic(uncertain=len(sent["input_ids"]))
    again = answer.retractions * (answer.prompt_tokens + answer.completion_tokens)
    return Traffic(answers=1, prompt=answer.prompt_tokens, cached=answer.cached_tokens, uncertain=again)


def _one(answers: Sequence[AnswerT | RequestFailed]) -> AnswerT:
    (answer,) = answers
    if isinstance(answer, RequestFailed):
        raise answer
    return answer


def _scoring(prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> list[Body]:
    """Return the requests that score a question's choices: one for all where each is a single token."""
    common = {"sampling_params": {"temperature": 0.0, "max_new_tokens": 1}, "return_logprob": True}
    if from_one_pass(choices):
        # Not of the prompt: its log-probabilities would cost a pass over the vocabulary per token.
        tokens = [choice[0] for choice in choices]
        return [{"input_ids": list(prompt), **common, "logprob_start_len": -1, "token_ids_logprob": tokens}]
    common |= {"logprob_start_len": len(prompt) - 1, "top_logprobs_num": 1}
    return [{"input_ids": [*prompt, *choice], **common} for choice in choices]


def _checked(entry: object, sent: Body) -> Answer | RequestFailed:
    try:
        return read_answer(entry, sent)
    except RequestFailed as error:
        return error


def _read(
    answers: Sequence[Answer | RequestFailed], how: Callable[[list[Answer]], AnswerT]
) -> AnswerT | RequestFailed:
    """Return what `how` reads in a question's answers, or why there is nothing to read."""
    try:
        return how([_one([answer]) for answer in answers])
    except RequestFailed as error:
        return error
