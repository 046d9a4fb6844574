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
from harness.records.predictions import TextRecord, read_compared, read_pieces, read_predictions
from harness.records.run_folder import ArmFolder, RunFolder
from harness.serve.server import running
from harness.sglang_plugin.study_folder import TextsFile
from tests.conftest import MakePlan
from tests.support import start_of

PLAN = FidelityPlan(texts={"boolq": 7}, max_tokens=16, concurrency=2, threshold=None)
TEXTS = [Text(name=f"boolq/{number}", content=f"Text {number}: " + "so it goes. " * number) for number in range(7)]


class SomeTexts(FixedTexts):
    """Texts that no data holds."""

    def __init__(self) -> None:
        self.plan, self.texts = PLAN, TEXTS


def of(folder: Path, arm: str = "baseline") -> ArmFolder:
    """Return where the plan's servers write, too."""
    return RunFolder(folder / "reports" / "run").arm(arm)


def measured(fake_plan: MakePlan, folder: Path, mode: str, arm: str = "baseline") -> list[TextRecord]:
    plan = fake_plan(mode, mode)
    of_arm = of(folder, arm)
    of_arm.path.mkdir(parents=True, exist_ok=True)
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
        assert record.error is None
    compressed = measured(fake_plan, tmp_path, "good", "compressed")
    arm = of(tmp_path, "compressed")
    found = compare(baseline, compressed, read_compared(arm.compared), expected=7)
    assert (found.texts, found.failed, found.faults) == (7, 0, [])
    assert found.overall is not None
    p, q = exp(-0.5), exp(-1)
    assert found.overall.kl.mean == pytest.approx(p * 0.5 + (1 - p) * log((1 - p) / (1 - q)), rel=1e-4)
    assert found.overall.loglikelihood.mean == pytest.approx(-0.5)
    # What its report names, once each.
    letters = [chr(piece) for piece in read_pieces(arm.pieces)]
    assert sorted(letters) == sorted({letter for text in TEXTS for letter in text.content[:16]})
    assert list(read_pieces(arm.pieces).values()) == letters


def test_a_failed_request_is_kept_as_one(fake_plan: MakePlan, tmp_path: Path) -> None:
    records = measured(fake_plan, tmp_path, "fails-some")
    broken = [record for record in records if record.error is not None]
    # Two texts are one request, and every third text breaks its.
    assert [entry.text for entry in broken] == ["boolq/2", "boolq/3", "boolq/4", "boolq/5"]
    assert all("HTTP 500" in str(entry.error) for entry in broken)
    assert compare(records, records, {}, expected=7).failed == 8


def test_a_server_that_dies_ends_it_and_what_was_measured_stays(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="the server ended with exit code 7"):
        measured(fake_plan, tmp_path, "dies-in-task")
    assert [entry.error is None for entry in read_predictions(of(tmp_path).predictions)] == [
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
    file = of(tmp_path).predictions
    rows = list(lines(file))
    del rows[2]["text"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(HarnessError, match=r"(?s)fidelity.jsonl:3: is not a text: "):
        read_predictions(file)
    with pytest.raises(HarnessError, match=r"cannot be read: .*that task was not finished"):
        read_predictions(tmp_path / "nowhere")


def test_the_protocol_says_what_is_asked() -> None:
    assert PLAN.protocol()["texts"] == {"boolq": 7}
    assert PLAN.protocol()["max_tokens"] == 16
    assert PLAN.protocol_text() == (
        "7 of boolq; to 16 tokens; compared over the whole vocabulary; BOS: what the tokenizer adds"
    )


def test_the_server_knows_the_texts_before_it_is_asked(fake_plan: MakePlan, tmp_path: Path) -> None:
    records = measured(fake_plan, tmp_path, "good")
    known = TextsFile(of(tmp_path).engagement)
    assert known.refresh()
    assert [list(text) for text in known.texts] == [record.tokens for record in records]
