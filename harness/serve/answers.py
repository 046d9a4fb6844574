"""Reads a server's answers with nothing taken on trust: types, ids, tokens as sent, and numbers that are numbers.

An answer that is not as it must be is a failed request with its reason, and never a wrong answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn, TypeAlias

from harness.records.samples import NO_NUMBERS
from harness.safety import harmless

Body: TypeAlias = dict[str, Any]
SHOWN = 120
ROUNDING = 0.01
"""What a log-probability may be above 0, in nats: logits of 16 bits are rounded."""


class RequestFailed(Exception):  # noqa: N818 - it is an outcome of one request, recorded, not an error of the run
    """One request got no answer; its message says why."""


class BatchRefused(RequestFailed):
    """A request was refused, or answered with what is no answer, as a whole: of which prompt's doing is not known."""


class NoNumbers(RequestFailed):
    """The server answered, but with a log-probability that is no number: what a NaN in the model looks like."""

    def __init__(self, what: str, value: object) -> None:
        super().__init__(f"{NO_NUMBERS}: the log-probability of {what} is {value}, which is no number")


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
class Answer:
    """One answer of `/generate`, checked as far as all of them are alike.

    Attributes:
        text: What was generated.
        finish_reason: Why it ended.
        prompt_tokens: Tokens of the prompt, as many as were sent.
        cached_tokens: Those of them that were not prefilled again.
        completion_tokens: Generated tokens.
        retractions: How often the server took it back for want of memory, to prefill it again later.
        meta: Everything that the server says of it.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    retractions: int
    meta: Body


def read_answer(answer: object, sent: Body) -> Answer:
    """Read one answer of `/generate`.

    Args:
        answer: What the server said.
        sent: What it was asked.

    Raises:
        RequestFailed: It was aborted, is another request's, or is no answer.
    """
    meta = _field(answer, "meta_info", dict)
    reason = _field(meta, "finish_reason", dict)
    kind = _field(reason, "type", str)
    if kind == "abort":
        raise RequestFailed(f"the server aborted the request: {harmless(str(reason.get('message', reason)))}")
    if meta.get("id", sent.get("rid")) != sent.get("rid"):
        raise RequestFailed(f"the answer is that of another request: {_shown(meta['id'])}, not {sent.get('rid')}")
    prompt, cached = _field(meta, "prompt_tokens", int), _field(meta, "cached_tokens", int)
    if prompt != len(sent["input_ids"]):
        raise RequestFailed(f"{len(sent['input_ids'])} tokens were sent, the server answers a prompt of {prompt}")
    if not 0 <= cached <= prompt:
        _malformed(f"cached_tokens is {cached} of {prompt}")
    return Answer(
        text=_text(answer),
        finish_reason=kind,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=_count(meta, "completion_tokens"),
        retractions=_count(meta, "num_retractions") if "num_retractions" in meta else 0,
        meta=meta,
    )


def read_tokens(answer: object) -> list[int]:
    """Read an answer of `/v1/tokenize` to one text.

    Raises:
        RequestFailed: It is none.
    """
    return _ids(_field(answer, "tokens", list))


def read_token_lists(answer: object, texts: int) -> list[list[int]]:
    """Read an answer of `/v1/tokenize` to a list of so many texts.

    Raises:
        BatchRefused: It is none.
    """
    try:
        lists: list[Any] = _field(answer, "tokens", list)
        if len(lists) != texts:
            _malformed(f"{texts} texts were sent, the tokens of {len(lists)} came")
        return [_ids(tokens) for tokens in lists]
    except RequestFailed as error:
        raise BatchRefused(str(error)) from error


def read_pieces(answer: object, tokens: int) -> list[str]:
    """Read an answer of `/v1/detokenize` to so many tokens, each by itself.

    Raises:
        RequestFailed: It is none.
    """
    pieces: list[Any] = _field(answer, "text", list)
    if len(pieces) != tokens:
        _malformed(f"{tokens} tokens were sent, the texts of {len(pieces)} came")
    return [_text({"text": piece}) for piece in pieces]


def _ids(tokens: object) -> list[int]:
    if not isinstance(tokens, list) or not set(map(type, tokens)) <= {int} or min(tokens, default=0) < 0:
        _malformed(f"tokens are no ids: {_shown(tokens)}")
    return tokens


def from_one_pass(choices: Sequence[Sequence[int]]) -> bool:
    """Return whether all choices are scored by one forward pass over the prompt: each is a single token."""
    return all(len(choice) == 1 for choice in choices)


def read_scores(choices: Sequence[Sequence[int]], answers: Sequence[Answer]) -> Scores:
    """Read the scores of a question's choices: from one answer where they are single tokens, else from one each.

    Raises:
        RequestFailed: The answers lack a score, or hold those of other tokens.
    """
    found = (
        _next_token_scores(choices, answers[0].meta)
        if from_one_pass(choices)
        else [_continuation_score(choice, answer.meta) for choice, answer in zip(choices, answers, strict=True)]
    )
    return Scores(
        logprobs=tuple(logprob for logprob, _ in found),
        greedy=tuple(greedy for _, greedy in found),
        tokens=tuple(len(choice) for choice in choices),
    )


def _next_token_scores(choices: Sequence[Sequence[int]], meta: Body) -> list[tuple[float, bool]]:
    asked, first = (_first(meta, name) for name in ("output_token_ids_logprobs", "output_token_logprobs"))
    if not isinstance(asked, list):
        _malformed(f"output_token_ids_logprobs holds {_shown(asked)}")
    of_token = {_token(entry): entry for entry in asked}
    if missing := [choice[0] for choice in choices if choice[0] not in of_token]:
        raise RequestFailed(f"asked for the log-probabilities of {choices}, got none of token {missing[0]}")
    greedy = _token(first)
    return [(_number(of_token[choice[0]]), choice[0] == greedy) for choice in choices]


def _continuation_score(choice: Sequence[int], meta: Body) -> tuple[float, bool]:
    logprobs = _field(meta, "input_token_logprobs", list)[-len(choice) :]
    if [_token(entry) for entry in logprobs] != list(choice):
        raise RequestFailed(f"asked for the log-probabilities of {list(choice)}, got those of {_shown(logprobs)}")
    best = _field(meta, "input_top_logprobs", list)[-len(choice) :]
    if len(best) != len(choice) or not all(isinstance(top, list) and top for top in best):
        _malformed(f"input_top_logprobs holds {_shown(best)}")
    greedy = all(_token(top[0]) == token for top, token in zip(best, choice, strict=True))
    return sum(map(_number, logprobs)), greedy


def _first(meta: Body, name: str) -> object:
    found: list[Any] = _field(meta, name, list)
    return found[0] if found else _malformed(f"{name} is empty")


def _token(entry: object) -> int:
    match entry:
        case [_, int() as token, *_]:
            return token
    return _malformed(f"{_shown(entry)} is no token with its log-probability")


def _number(entry: Any) -> float:  # noqa: ANN401 - of any type until it is checked
    token, logprob = _token(entry), entry[0]
    # JSON has no NaN: servers write null.
    if logprob is None or (isinstance(logprob, float) and not isfinite(logprob)):
        raise NoNumbers(f"token {token}", logprob)
    if type(logprob) not in {int, float}:
        _malformed(f"the log-probability of token {token} is {_shown(logprob)}")
    if logprob > ROUNDING:
        _malformed(f"the log-probability of token {token} is {logprob}, more than certain")
    return float(logprob)


def _text(answer: object) -> str:
    """Return what was generated; half a character, which no file takes, is none."""
    text: str = _field(answer, "text", str)
    try:
        text.encode()
    except UnicodeEncodeError:
        _malformed(f"text holds half a character: {_shown(text)}")
    return text


def _count(record: object, name: str) -> int:
    count: int = _field(record, name, int)
    return count if count >= 0 else _malformed(f"{name} is {count}")


def _field(record: object, name: str, kind: type) -> Any:  # noqa: ANN401 - of the kind that is asked for
    """Return a field of an answer; True is no number here."""
    if not isinstance(record, dict) or name not in record:
        _malformed(f"it has no {name}")
    if type(record[name]) is not kind:
        _malformed(f"{name} is {_shown(record[name])}")
    return record[name]


def _malformed(why: str) -> NoReturn:
    raise RequestFailed(f"the answer is malformed: {why}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
