"""Answers that are none: each is a failed request with its reason."""

from functools import partial
from typing import Any

import pytest

from harness.records.run import Traffic
from harness.serve.answers import NoNumbers, RequestFailed
from harness.serve.client import Client
from tests.serve.asked import Asked, Body, generated


def told(**meta: Any) -> Any:
    """Return what comes of an answer with such facts."""
    return generated(" one", **meta)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "malformed: it has no meta_info"),
        ({"text": "one"}, "malformed: it has no meta_info"),
        ({"text": "one", "meta_info": None}, "malformed: meta_info is None"),
        ({**generated("one"), "text": None}, "malformed: text is None"),
        ({**generated("one"), "text": 7}, "malformed: text is 7"),
        (told(finish_reason=None), "malformed: finish_reason is None"),
        (told(completion_tokens="2"), "malformed: completion_tokens is '2'"),
        (told(completion_tokens=-1), "malformed: completion_tokens is -1"),
        (told(prompt_tokens=True), "malformed: prompt_tokens is True"),
        (told(prompt_tokens=3), "2 tokens were sent, the server answers a prompt of 3"),
        (told(cached_tokens=3), "malformed: cached_tokens is 3 of 2"),
        (told(id="another"), "the answer is that of another request: 'another'"),
        ("[" * 100_000, "the answer is not JSON"),
    ],
)
def test_a_malformed_answer_is_a_failed_request_with_its_reason(
    asked: Asked, client: Client, answer: Any, why: str
) -> None:
    asked.answer = lambda _body: answer
    (found,) = client.generate_many([[1, 2]], max_new_tokens=4, stop=())
    assert isinstance(found, RequestFailed)
    assert why in str(found)
    assert client.traffic == Traffic(uncertain=2)


def test_answers_in_another_order_are_found_by_their_ids(asked: Asked, client: Client) -> None:
    asked.answer = lambda body: [generated(rid, id=rid) for rid in reversed(body["rid"])]
    found = client.generate_many([[1], [2], [3]], max_new_tokens=4, stop=())
    assert [isinstance(answer, RequestFailed) for answer in found] == [True, False, True]


@pytest.mark.parametrize("logprob", ["null", "NaN", "Infinity", "-Infinity"])
def test_a_log_probability_that_is_no_number_is_a_finding_of_its_own(
    asked: Asked, client: Client, logprob: str
) -> None:
    meta = '"finish_reason": {"type": "stop"}, "completion_tokens": 1, "prompt_tokens": 2, "cached_tokens": 0'
    lists = f'"output_token_ids_logprobs": [[[{logprob}, 5, null]]], "output_token_logprobs": [[-1.0, 5, null]]'
    asked.answer = lambda _body: f'{{"text": "", "meta_info": {{{meta}, {lists}}}}}'
    with pytest.raises(NoNumbers, match=r"^the server gives no numbers: the log-probability of token 5 is "):
        client.score([1, 2], [[5]])


@pytest.mark.parametrize("logprob", ["-1.0", True, [], {}])
def test_a_log_probability_of_another_type_is_malformed(asked: Asked, client: Client, logprob: Any) -> None:
    asked.answer = lambda _body: told(
        output_token_ids_logprobs=[[[logprob, 5, None]]], output_token_logprobs=[[-1.0, 5, None]]
    )
    with pytest.raises(RequestFailed, match="the answer is malformed: the log-probability of token 5 is "):
        client.score([1, 2], [[5]])


@pytest.mark.parametrize("lists", [None, [], [None], [[]], [[[-1.0]]], [[["a", "b"]]], [[[-1.0, 6, None]]]])
def test_scores_that_are_none_are_a_failed_request(asked: Asked, client: Client, lists: Any) -> None:
    asked.answer = lambda _body: told(output_token_ids_logprobs=lists, output_token_logprobs=[[-1.0, 5, None]])
    with pytest.raises(RequestFailed):
        client.score([1, 2], [[5]])


def answered(answer: Any, _body: Body) -> Any:
    return answer


def test_tokens_that_are_no_ids_are_a_failed_request(asked: Asked, client: Client) -> None:
    answers: list[Any] = [[], {"tokens": None}, {"tokens": [1, "2"]}, {"tokens": [True]}, {"tokens": [-1]}]
    for answer in answers:
        asked.answer = partial(answered, answer)
        with pytest.raises(RequestFailed, match="malformed"):
            client.tokenize("a text")
