"""In which order questions go to a server, and that each gets its own answer."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from lm_eval.api.instance import Instance

from harness.ask.lm_eval_model import ServerModel
from harness.serve.answers import RequestFailed
from harness.serve.client import Client

LENGTHS = {0: 3, 1: 9, 2: 3, 3: 7, 4: 1}
FAILS = 3
HAS_NO_TOKENS = 4


def test_of_those_sent_at_once_the_long_ones_begin_and_each_keeps_its_answer() -> None:
    sent: list[list[int]] = []

    def generate_many(prompts: Sequence[Sequence[int]], **_how: object) -> list[object]:
        numbers = [prompt[0] for prompt in prompts]
        sent.append(numbers)
        return [
            RequestFailed("no luck")
            if number == FAILS
            else SimpleNamespace(text=f"answer {number}", finish_reason="stop", tokens=number)
            for number in numbers
        ]

    def tokenize_many(texts: Sequence[str], **_how: object) -> list[object]:
        return [RequestFailed("no tokens") if int(text) == HAS_NO_TOKENS else [int(text)] for text in texts]

    client = SimpleNamespace(tokenize_many=tokenize_many, generate_many=generate_many)
    model = ServerModel(
        cast("Client", client),
        special_tokens=True,
        max_new_tokens=lambda _options: 8,
    )
    instances = [
        Instance("generate_until", {"number": number}, (str(number), {"until": []}), 0, ("task", number, 1))
        for number in LENGTHS
    ]
    prepared = model.prepare([[instance] for instance in instances])
    found = [outcome for (outcome,) in model.ask(prepared, lengths=list(LENGTHS.values()), meanwhile=lambda: None)]
    # Of equally long ones the first.
    assert sent == [[1, 3, 0, 2]]
    texts = [None if number in {FAILS, HAS_NO_TOKENS} else f"answer {number}" for number in LENGTHS]
    assert [outcome["text"] for outcome in found] == texts
    assert [outcome["error"] for outcome in found] == [None, None, None, "no luck", "no tokens"]
    # What lm-eval's filters read.
    assert [instance.resps for instance in instances] == [[text or ""] for text in texts]
