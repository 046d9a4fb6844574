"""Talks to one SGLang server, by the native endpoints that evaluation needs. Sends token ids, never text.

Nothing is retried: a request that failed once is a finding, and a retry would hide it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self

import httpx

CONNECT_TIMEOUT_S = 10.0


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
class Likely:
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

    actual: Likely
    top: tuple[Likely, ...]


class Client:
    """One server's endpoints."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
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

    def healthy(self) -> bool:
        """Return whether the server says it is up and generated a token to be sure."""
        try:
            return self._http.get("/health").is_success
        except httpx.HTTPError:
            return False

    def reachable(self) -> bool:
        """Return whether anything answers at all, be it with an error."""
        try:
            self._http.get("/v1/models")
        except httpx.TransportError:
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
        self._ask("POST", "/flush_cache", as_json=False)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the token ids of `text`, with the tokenizer's own special tokens unless `special` is false.

        Raises:
            RequestFailed: There was no answer.
        """
        answer = self._ask("POST", "/v1/tokenize", {"prompt": text, "add_special_tokens": special})
        tokens: list[int] = answer["tokens"]
        return tokens

    def score(self, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> Scores:
        """Return the log-probability of each choice after `prompt`.

        Choices of one token each are all read from one forward pass over the prompt.

        Args:
            prompt: Token ids.
            choices: For each choice its token ids, at least one.

        Raises:
            RequestFailed: There was no answer.
        """
        if all(len(choice) == 1 for choice in choices):
            return self._score_next_token(prompt, [choice[0] for choice in choices])
        scored = [self._score_continuation(prompt, choice) for choice in choices]
        return Scores(
            logprobs=tuple(logprob for logprob, _ in scored),
            greedy=tuple(greedy for _, greedy in scored),
            tokens=tuple(len(choice) for choice in choices),
        )

    def generate(self, prompt: Sequence[int], *, max_new_tokens: int, stop: Sequence[str]) -> Generation:
        """Continue `prompt` greedily.

        Raises:
            RequestFailed: There was no answer.
        """
        answer = self._generate(
            {
                "input_ids": list(prompt),
                "sampling_params": {
                    "temperature": 0.0,
                    "max_new_tokens": max_new_tokens,
                    "stop": list(stop),
                },
            }
        )
        return Generation(
            text=answer["text"],
            finish_reason=answer["meta_info"]["finish_reason"]["type"],
            tokens=answer["meta_info"]["completion_tokens"],
        )

    def predict(self, tokens: Sequence[int], *, top: int) -> list[Prediction]:
        """Return what the model expects after each token of a text but the last. Prefill alone, nothing is generated.

        It costs a pass over the vocabulary for each token.

        Args:
            tokens: Token ids, at least two.
            top: How many of the most likely tokens.

        Returns:
            One prediction for each token but the first.

        Raises:
            RequestFailed: There was no answer, it is of other tokens, or a log-probability in it is no number.
        """
        answer = self._generate(
            {
                "input_ids": list(tokens),
                "sampling_params": {"temperature": 0.0, "max_new_tokens": 0},
                "return_logprob": True,
                "logprob_start_len": 0,
                "top_logprobs_num": top,
                "return_text_in_logprobs": True,
            }
        )
        # Nothing predicts the first token.
        actual = answer["meta_info"]["input_token_logprobs"][1:]
        best = answer["meta_info"]["input_top_logprobs"][1:]
        if [entry[1] for entry in actual] != list(tokens[1:]) or len(best) != len(actual):
            raise RequestFailed(f"asked for the log-probabilities of {len(tokens)} tokens, got those of others")
        predictions = [
            Prediction(actual=_likely(token), top=tuple(_likely(entry) for entry in entries))
            for token, entries in zip(actual, best, strict=True)
        ]
        if short := [len(of.top) for of in predictions if len(of.top) != top]:
            raise RequestFailed(f"asked for the {top} most likely tokens, got {short[0]}")
        return predictions

    def _score_next_token(self, prompt: Sequence[int], tokens: Sequence[int]) -> Scores:
        answer = self._generate(
            {
                "input_ids": list(prompt),
                "sampling_params": {"temperature": 0.0, "max_new_tokens": 1},
                "return_logprob": True,
                # Not of the prompt: its log-probabilities would cost a pass over the vocabulary per token.
                "logprob_start_len": -1,
                "token_ids_logprob": list(tokens),
            }
        )
        of_token = {entry[1]: entry[0] for entry in answer["meta_info"]["output_token_ids_logprobs"][0]}
        greedy = answer["meta_info"]["output_token_logprobs"][0][1]
        return Scores(
            logprobs=tuple(of_token[token] for token in tokens),
            greedy=tuple(token == greedy for token in tokens),
            tokens=tuple(1 for _ in tokens),
        )

    def _score_continuation(self, prompt: Sequence[int], choice: Sequence[int]) -> tuple[float, bool]:
        answer = self._generate(
            {
                "input_ids": [*prompt, *choice],
                "sampling_params": {"temperature": 0.0, "max_new_tokens": 1},
                "return_logprob": True,
                "logprob_start_len": len(prompt) - 1,
                "top_logprobs_num": 1,
            }
        )
        meta = answer["meta_info"]
        logprobs = meta["input_token_logprobs"][-len(choice) :]
        if [entry[1] for entry in logprobs] != list(choice):
            raise RequestFailed(f"asked for the log-probabilities of {list(choice)}, got those of {logprobs}")
        best = meta["input_top_logprobs"][-len(choice) :]
        greedy = all(top[0][1] == token for top, token in zip(best, choice, strict=True))
        return sum(entry[0] for entry in logprobs), greedy

    def _generate(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._ask("POST", "/generate", body)
        reason = answer["meta_info"]["finish_reason"]
        if reason["type"] == "abort":
            raise RequestFailed(f"the server aborted the request: {reason.get('message', reason)}")
        return answer

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, as_json: bool = True
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, json=body)
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


def _likely(entry: Sequence[Any]) -> Likely:
    logprob, token, piece = entry
    # JSON has no NaN: servers write null.
    if logprob is None or not isfinite(logprob):
        raise RequestFailed(f"the log-probability of token {token} is {logprob}, which is no number")
    return Likely(token=token, logprob=logprob, piece=piece)
