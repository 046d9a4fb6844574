import json
from collections.abc import Iterator
from math import exp, log
from pathlib import Path

import pytest

from harness.ask.predictions import FixedTexts
from harness.ask.texts import Text
from harness.errors import HarnessError
from harness.judge.predictions import compare
from harness.plan.plan import FidelityPlan
from harness.records.predictions import TextRecord, read_predictions
from harness.records.run_folder import RunFolder
from harness.serve.server import running
from tests.conftest import MakePlan
from tests.support import start_of

PLAN = FidelityPlan(texts={"boolq": 7}, max_tokens=16, top_k=5, concurrency=2, threshold=None)
TEXTS = [Text(name=f"boolq/{number}", content=f"Text {number}: " + "so it goes. " * number) for number in range(7)]


class SomeTexts(FixedTexts):
    """Texts that no data holds."""

    def __init__(self) -> None:
        self.plan, self.texts = PLAN, TEXTS


def measured(fake_plan: MakePlan, folder: Path, mode: str, arm: str = "baseline") -> list[TextRecord]:
    plan = fake_plan(mode, mode)
    of_arm = RunFolder(folder).arm(arm)
    of_arm.path.mkdir()
    done: list[int] = []
    with running(plan.arm(arm), start_of(plan), of_arm.log, lambda _: None) as server:
        SomeTexts().ask(
            server.client,
            range(len(TEXTS)),
            folder=of_arm,
            after_failure=server.check_alive,
            advance=lambda: done.append(1),
        )
    assert len(done) == len(TEXTS)
    return read_predictions(of_arm.predictions)


pytestmark = pytest.mark.usefixtures("no_strays")


def test_both_arms_are_asked_of_the_same_texts(fake_plan: MakePlan, tmp_path: Path) -> None:
    baseline = measured(fake_plan, tmp_path, "good")
    assert [record.text for record in baseline] == [text.name for text in TEXTS]
    for record, text in zip(baseline, TEXTS, strict=True):
        assert record.tokens == [ord(letter) for letter in text.content[:16]]
        assert "".join(record.pieces) == text.content[1:16]
        assert record.error is None
        assert record.logprobs == [-0.5] * len(record.pieces)
        assert all(len(tokens) == 5 for tokens in record.top_tokens)
    found = compare(baseline, measured(fake_plan, tmp_path, "good", "compressed"), expected=7)
    assert (found.texts, found.failed, found.faults) == (7, 0, [])
    assert found.overall is not None
    # The other tokens and the lump change alike.
    p, q = exp(-0.5), exp(-1)
    assert found.overall.kl.mean == pytest.approx(p * 0.5 + (1 - p) * log((1 - p) / (1 - q)), rel=1e-4)
    assert found.overall.loglikelihood.mean == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("no-number", "the server gives no numbers: the log-probability of token 101 is None, which is no number"),
        ("other-tokens", "asked for the log-probabilities of 8 tokens, got those of others"),
        ("short-top", "asked for the 5 most likely tokens, got 4"),
    ],
)
def test_an_answer_that_is_none_is_a_failed_request(fake_plan: MakePlan, tmp_path: Path, mode: str, why: str) -> None:
    records = measured(fake_plan, tmp_path, mode)
    assert records[0].error == why
    assert all(record.error is not None and record.logprobs == [] for record in records)


def test_a_failed_request_is_kept_as_one(fake_plan: MakePlan, tmp_path: Path) -> None:
    records = measured(fake_plan, tmp_path, "fails-some")
    broken = [record for record in records if record.error is not None]
    # Two texts are one request, and every third text breaks its.
    assert [entry.text for entry in broken] == ["boolq/2", "boolq/3", "boolq/4", "boolq/5"]
    assert all("HTTP 500" in str(entry.error) for entry in broken)
    assert compare(records, records, expected=7).failed == 8


def test_a_server_that_dies_ends_it_and_what_was_measured_stays(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="the server ended with exit code 7"):
        measured(fake_plan, tmp_path, "dies-in-task")
    assert [entry.error is None for entry in read_predictions(RunFolder(tmp_path).arm("baseline").predictions)] == [
        True,
        True,
        False,
        False,
    ]


def lines(file: Path) -> Iterator[dict[str, object]]:
    for line in file.read_text().splitlines():
        yield json.loads(line)


def test_a_record_that_is_not_whole_is_refused(fake_plan: MakePlan, tmp_path: Path) -> None:
    measured(fake_plan, tmp_path, "good")
    file = RunFolder(tmp_path).arm("baseline").predictions
    rows = list(lines(file))
    rows[2]["logprobs"] = [-0.5]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(HarnessError, match=r"(?s)fidelity.jsonl:3: is not a text's predictions: .*each whole"):
        read_predictions(file)
    with pytest.raises(HarnessError, match=r"cannot be read: .*that task was not finished"):
        read_predictions(tmp_path / "nowhere")


def test_the_protocol_says_what_is_asked() -> None:
    assert PLAN.protocol()["texts"] == {"boolq": 7}
    assert (PLAN.protocol()["max_tokens"], PLAN.protocol()["top_k"]) == (16, 5)
    assert PLAN.protocol_text() == "7 of boolq; to 16 tokens; the 5 most likely; BOS: what the tokenizer adds"
