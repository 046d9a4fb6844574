"""In which order questions go to a server, and that each gets its own answer."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from lm_eval.api.instance import Instance

from harness.ask.lm_eval_model import ServerModel
from harness.serve.answers import RequestFailed
from harness.serve.client import Client

LENGTHS = {0: 3, 1: 9, 2: 3, 3: 7, 4: 1}
FAILS = 3


def test_of_those_sent_at_once_the_long_ones_begin_and_each_keeps_its_answer() -> None:
    sent: list[list[int]] = []
    written: list[dict[str, Any]] = []

    def generate_many(prompts: Sequence[Sequence[int]], **_how: object) -> list[object]:
        numbers = [prompt[0] for prompt in prompts]
        sent.append(numbers)
        return [
            RequestFailed("no luck")
            if number == FAILS
            else SimpleNamespace(text=f"answer {number}", finish_reason="stop", tokens=number)
            for number in numbers
        ]

    client = SimpleNamespace(tokenize=lambda text, **_how: [int(text)], generate_many=generate_many)
    model = ServerModel(
        cast("Client", client),
        concurrency=4,
        special_tokens=True,
        max_new_tokens=lambda _options: 8,
        expected_length=lambda document: LENGTHS[document["number"]],
        write=written.append,
        after_failure=lambda: None,
        advance=lambda: None,
        first_document=0,
    )
    instances = [
        Instance("generate_until", {"number": number}, (str(number), {"until": []}), 0, ("task", number, 1))
        for number in LENGTHS
    ]
    texts = model.generate_until(instances)
    # Four at once; of equally long ones the first.
    assert sent == [[1, 3, 0, 2], [4]]
    assert texts == ["" if number == FAILS else f"answer {number}" for number in LENGTHS]
    assert {line["doc_id"]: line["text"] for line in written} == {
        number: None if number == FAILS else f"answer {number}" for number in LENGTHS
    }
    assert [line["doc_id"] for line in written if line["error"]] == [FAILS]
