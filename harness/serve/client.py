"""Talks to one SGLang server, by the native endpoints that evaluation needs. Sends token ids, never text.

Nothing is retried: a request that failed once is a finding, and a retry would hide it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self, TypeAlias, TypeVar

import httpx

from harness.serve.within import within

CONNECT_TIMEOUT_S = 10.0
# For an answer that takes no model: a server that does not even give that hangs.
REACHABLE_TIMEOUT_S = 30.0
# How long SGLang may wait until it is idle.
FLUSH_TIMEOUT_S = 30
# What SGLang takes once for all texts of a request.
OF_ALL = frozenset({"return_text_in_logprobs"})


Body: TypeAlias = dict[str, Any]


Question: TypeAlias = tuple[Sequence[int], Sequence[Sequence[int]]]


AnswerT = TypeVar("AnswerT")


class RequestFailed(Exception):  # noqa: N818 - it is an outcome of one request, recorded, not an error of the run
    """One request got no answer; its message says why."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The log-probabilities of a prompt's choices.

    Attributes:
        logprobs: Natural log-probability of each choice, in the order asked.
        greedy: For each choice, whether greedy decoding would have given it.
        tokens: How many tokens each choice has.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A generated text.

    Attributes:
        text: The text, without the stop string that ended it.
        finish_reason: `stop`, or `length` where the token cap cut it.
        tokens: Generated tokens.
    """

    text: str
    finish_reason: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """One token that may come next.

    Attributes:
        token: Its id.
        logprob: Its natural log-probability.
        piece: It as text.
    """

    token: int
    logprob: float
    piece: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model expects after some tokens of a prompt.

    Attributes:
        actual: The token that does come next.
        top: The most likely ones, the most likely first.
    """

    actual: TokenLogprob
    top: tuple[TokenLogprob, ...]


class Client:
    """One server's endpoints."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None),
            # A proxy in the environment must not see, nor answer, requests to our own server.
            trust_env=False,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._http.close()

    def healthy(self, timeout_s: float = REACHABLE_TIMEOUT_S) -> bool:
        """Return whether the server says within `timeout_s` that it is up; it generates a token to be sure."""
        try:
            return within(timeout_s, lambda: self._http.get("/health")).is_success
        except (httpx.HTTPError, TimeoutError):
            return False

    def reachable(self) -> bool:
        """Return whether anything answers at all, be it with an error."""
        try:
            within(REACHABLE_TIMEOUT_S, lambda: self._http.get("/v1/models"))
        except (httpx.TransportError, TimeoutError):
            return False
        return True

    def server_info(self) -> dict[str, Any]:
        """Return the arguments that the server runs with.

        Raises:
            RequestFailed: There was no answer.
        """
        return self._ask("GET", "/get_server_info")

    def flush_cache(self) -> None:
        """Empty the prefix cache, so that no task profits from the one before it.

        Raises:
            RequestFailed: There was no answer, or the server was busy.
        """
        self._ask("POST", f"/flush_cache?timeout={FLUSH_TIMEOUT_S}", as_json=False)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the token ids of `text`, with the tokenizer's own special tokens unless `special` is false.

        Raises:
            RequestFailed: There was no answer.
        """
        answer = self._ask("POST", "/v1/tokenize", {"prompt": text, "add_special_tokens": special})
        tokens: list[int] = answer["tokens"]
        return tokens

    def score(self, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> Scores:
        """Return the log-probability of each choice after `prompt`: `score_many` of one question.

        Raises:
            RequestFailed: There was no answer.
        """
        return _one(self.score_many([(prompt, choices)]))

    def score_many(self, questions: Sequence[Question]) -> list[Scores | RequestFailed]:
        """Return the log-probability of each question's choices; all go out as one request.

        One request reaches SGLang's scheduler as one message, so that the questions are batched in the same
        way each time: requests sent at once are batched as they happen to arrive, and a batch's shape changes
        the last bits. Choices of one token each are all read from one forward pass over the prompt.

        Args:
            questions: For each a prompt and its choices, each of at least one token, as token ids.

        Returns:
            For each question its scores, or why there are none.
        """
        requests = [_scoring(prompt, choices) for prompt, choices in questions]
        answers = iter(self._generate_many([body for bodies in requests for body in bodies]))
        return [
            _scores(choices, [next(answers) for _ in bodies])
            for (_prompt, choices), bodies in zip(questions, requests, strict=True)
        ]

    def generate(self, prompt: Sequence[int], *, max_new_tokens: int, stop: Sequence[str]) -> Generation:
        """Continue `prompt` greedily: `generate_many` of one prompt.

        Raises:
            RequestFailed: There was no answer.
        """
        return _one(self.generate_many([prompt], max_new_tokens=max_new_tokens, stop=stop))

    def generate_many(
        self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, stop: Sequence[str]
    ) -> list[Generation | RequestFailed]:
        """Continue each prompt greedily; all go out as one request, for the reason given at `score_many`.

        Returns:
            For each prompt its continuation, or why there is none.
        """
        sampling = {"temperature": 0.0, "max_new_tokens": max_new_tokens, "stop": list(stop)}
        answers = self._generate_many(
            [{"input_ids": list(prompt), "sampling_params": sampling} for prompt in prompts]
        )
        return [
            answer
            if isinstance(answer, RequestFailed)
            else Generation(
                text=answer["text"],
                finish_reason=answer["meta_info"]["finish_reason"]["type"],
                tokens=answer["meta_info"]["completion_tokens"],
            )
            for answer in answers
        ]

    def predict_many(self, texts: Sequence[Sequence[int]], *, top: int) -> list[list[Prediction] | RequestFailed]:
        """Return what the model expects after each token of each text but the last; all go out as one request.

        Prefill alone, nothing is generated. It costs a pass over the vocabulary for each token.

        Args:
            texts: The texts' token ids, at least two each.
            top: How many of the most likely tokens.

        Returns:
            For each text one prediction for each of its tokens but the first; or why there is none: no answer,
            one of other tokens, or a log-probability that is no number.
        """
        answers = self._generate_many(
            [
                {
                    "input_ids": list(tokens),
                    "sampling_params": {"temperature": 0.0, "max_new_tokens": 0},
                    "return_logprob": True,
                    "logprob_start_len": 0,
                    "top_logprobs_num": top,
                    "return_text_in_logprobs": True,
                }
                for tokens in texts
            ]
        )
        return [_predictions(tokens, top, answer) for tokens, answer in zip(texts, answers, strict=True)]

    def _generate_many(self, bodies: Sequence[Body]) -> list[Body | RequestFailed]:
        """Send requests of the same form as one; an abort is of one of them, any other failure of all."""
        answers: dict[int, Body | RequestFailed] = {}
        forms: dict[frozenset[str], list[int]] = defaultdict(list)
        for index, body in enumerate(bodies):
            forms[frozenset(body)].append(index)
        for form in forms.values():
            answers |= zip(form, self._send([bodies[index] for index in form]), strict=True)
        return [answers[index] for index in range(len(bodies))]

    def _send(self, bodies: Sequence[Body]) -> list[Body | RequestFailed]:
        alone = len(bodies) == 1
        try:
            answered: Any = self._ask(
                "POST",
                "/generate",
                bodies[0]
                if alone
                else {
                    name: bodies[0][name] if name in OF_ALL else [body[name] for body in bodies] for name in bodies[0]
                },
            )
        except RequestFailed as error:
            return [error for _ in bodies]
        found: list[Body] = [answered] if alone else answered
        if len(found) != len(bodies):
            wrong = RequestFailed(f"{len(bodies)} prompts were sent as one request, {len(found)} answers came")
            return [wrong for _ in bodies]
        return [_aborted(entry) or entry for entry in found]

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, as_json: bool = True
    ) -> dict[str, Any]:
        try:
            response = within(self._timeout_s, lambda: self._http.request(method, path, json=body))
        except TimeoutError as error:
            raise RequestFailed(f"{method} {path}: the answer was not whole within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise RequestFailed(f"{method} {path}: {type(error).__name__}: {error}") from error
        if not response.is_success:
            raise RequestFailed(f"{method} {path}: HTTP {response.status_code}: {response.text[:500]}")
        if not as_json:
            return {}
        try:
            answer: dict[str, Any] = response.json()
        except ValueError as error:
            raise RequestFailed(f"{method} {path}: the answer is not JSON: {response.text[:200]}") from error
        return answer


def _one(answers: Sequence[AnswerT | RequestFailed]) -> AnswerT:
    (answer,) = answers
    if isinstance(answer, RequestFailed):
        raise answer
    return answer


def _aborted(answer: Body) -> RequestFailed | None:
    reason = answer["meta_info"]["finish_reason"]
    if reason["type"] != "abort":
        return None
    return RequestFailed(f"the server aborted the request: {reason.get('message', reason)}")


def _from_one_pass(choices: Sequence[Sequence[int]]) -> bool:
    return all(len(choice) == 1 for choice in choices)


def _scoring(prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> list[Body]:
    """Return the requests that score a question's choices: one for all where each is a single token."""
    common = {"sampling_params": {"temperature": 0.0, "max_new_tokens": 1}, "return_logprob": True}
    if _from_one_pass(choices):
        # Not of the prompt: its log-probabilities would cost a pass over the vocabulary per token.
        tokens = [choice[0] for choice in choices]
        return [{"input_ids": list(prompt), **common, "logprob_start_len": -1, "token_ids_logprob": tokens}]
    common |= {"logprob_start_len": len(prompt) - 1, "top_logprobs_num": 1}
    return [{"input_ids": [*prompt, *choice], **common} for choice in choices]


def _scores(choices: Sequence[Sequence[int]], answers: Sequence[Body | RequestFailed]) -> Scores | RequestFailed:
    try:
        metas = [_one([answer])["meta_info"] for answer in answers]
        found = (
            _next_token_scores(choices, metas[0])
            if _from_one_pass(choices)
            else [_continuation_score(choice, meta) for choice, meta in zip(choices, metas, strict=True)]
        )
    except RequestFailed as error:
        return error
    return Scores(
        logprobs=tuple(logprob for logprob, _ in found),
        greedy=tuple(greedy for _, greedy in found),
        tokens=tuple(len(choice) for choice in choices),
    )


def _next_token_scores(choices: Sequence[Sequence[int]], meta: Body) -> list[tuple[float, bool]]:
    of_token = {entry[1]: entry[0] for entry in meta["output_token_ids_logprobs"][0]}
    greedy = meta["output_token_logprobs"][0][1]
    return [(of_token[choice[0]], choice[0] == greedy) for choice in choices]


def _continuation_score(choice: Sequence[int], meta: Body) -> tuple[float, bool]:
    logprobs = meta["input_token_logprobs"][-len(choice) :]
    if [entry[1] for entry in logprobs] != list(choice):
        raise RequestFailed(f"asked for the log-probabilities of {list(choice)}, got those of {logprobs}")
    best = meta["input_top_logprobs"][-len(choice) :]
    greedy = all(top[0][1] == token for top, token in zip(best, choice, strict=True))
    return sum(entry[0] for entry in logprobs), greedy


def _predictions(tokens: Sequence[int], top: int, answer: Body | RequestFailed) -> list[Prediction] | RequestFailed:
    if isinstance(answer, RequestFailed):
        return answer
    # Nothing predicts the first token.
    actual, best = (answer["meta_info"][name][1:] for name in ("input_token_logprobs", "input_top_logprobs"))
    if [entry[1] for entry in actual] != list(tokens[1:]) or len(best) != len(actual):
        return RequestFailed(f"asked for the log-probabilities of {len(tokens)} tokens, got those of others")
    if short := [len(entries) for entries in best if len(entries) != top]:
        return RequestFailed(f"asked for the {top} most likely tokens, got {short[0]}")
    # JSON has no NaN: servers write null.
    if broken := [
        entry for entries in ([*actual], *best) for entry in entries if entry[0] is None or not isfinite(entry[0])
    ]:
        return RequestFailed(f"the log-probability of token {broken[0][1]} is {broken[0][0]}, which is no number")
    return [
        Prediction(actual=_likely(token), top=tuple(_likely(entry) for entry in entries))
        for token, entries in zip(actual, best, strict=True)
    ]


def _likely(entry: Sequence[Any]) -> TokenLogprob:
    logprob, token, piece = entry
    return TokenLogprob(token=token, logprob=logprob, piece=piece)
