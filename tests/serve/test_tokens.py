"""Texts as tokens and tokens as text, as a server tells them."""

import pytest

from harness.serve.answers import RequestFailed
from harness.serve.client import Client
from tests.serve.asked import Asked, Body


@pytest.mark.parametrize("special", [True, False])
def test_texts_become_tokens_with_the_special_ones_or_without(asked: Asked, client: Client, *, special: bool) -> None:
    asked.answer = lambda _body: {"tokens": [1, 2]}
    assert client.tokenize("a text", special=special) == [1, 2]
    assert asked.bodies == [{"prompt": "a text", "add_special_tokens": special}]


def letters(body: Body) -> Body:
    """Give each letter a token, as SGLang does for one text or a list of them."""
    prompt = body["prompt"]
    return {
        "tokens": [list(map(ord, text)) for text in prompt] if isinstance(prompt, list) else list(map(ord, prompt))
    }


def test_many_texts_become_tokens_in_one_request(asked: Asked, client: Client) -> None:
    asked.answer = letters
    assert client.tokenize_many(["ab", "", "c"], special=False) == [[97, 98], [], [99]]
    assert asked.bodies == [{"prompt": ["ab", "", "c"], "add_special_tokens": False}]
    assert client.tokenize_many([]) == []
    assert len(asked.requests) == 1


def test_more_letters_than_a_server_should_wait_for_go_out_in_several(
    asked: Asked, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.serve.client.TOKENIZED_AT_ONCE", 4)
    asked.answer = letters
    texts = ["abc", "d", "e", "a long one", "f"]
    assert client.tokenize_many(texts) == [list(map(ord, text)) for text in texts]
    assert [body["prompt"] for body in asked.bodies] == [["abc", "d"], ["e"], ["a long one"], ["f"]]


@pytest.mark.parametrize(
    "refusal", [400, "no JSON", {"tokens": [[1]]}, {"tokens": [[1], [2.5]]}, {"tokens": [[1], 2]}]
)
def test_texts_that_are_refused_together_are_blamed_alone(asked: Asked, client: Client, refusal: object) -> None:
    asked.answer = lambda body: (
        refusal if isinstance(body["prompt"], list) or body["prompt"] == "b" else letters(body)
    )
    first, second = client.tokenize_many(["a", "b"])
    assert first == [97]
    assert isinstance(second, RequestFailed)
    assert [body["prompt"] for body in asked.bodies] == [["a", "b"], "a", "b"]


def test_texts_that_got_no_answer_are_not_asked_again(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: 500
    found = client.tokenize_many(["a", "b"])
    assert [str(entry) for entry in found] == ['POST /v1/tokenize: HTTP 500: {"why": "told to fail"}'] * 2
    assert len(asked.requests) == 1


def test_tokens_are_told_as_text_each_by_itself(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: {"text": [" a", "b"]}
    assert client.pieces([7, 9]) == [" a", "b"]
    assert asked.bodies == [{"tokens": [[7], [9]], "skip_special_tokens": False}]


@pytest.mark.parametrize("found", [[" a"], " ab", [" a", None], ["a", "\ud800"]])
def test_what_are_no_texts_of_tokens_is_refused(asked: Asked, client: Client, found: object) -> None:
    asked.answer = lambda _body: {"text": found}
    with pytest.raises(RequestFailed, match="malformed"):
        client.pieces([7, 9])
