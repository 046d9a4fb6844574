from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.predictions import CompareLine
from harness.records.run import write_lines
from harness.records.run_folder import ArmFolder, RunFolder
from harness.sglang_plugin.policy import Choice
from harness.study.confirm import compare_with_run
from harness.study.model import Confirmation
from harness.study.records import add_measured
from tests.study.measured import TEXTS, measured, predictions

NAME, TOKENS = "int8_token one_shot", 10


def compared(folder: Path, *, virtual: float, real: float, texts: int = TEXTS) -> Confirmation:
    ours, run = ArmFolder(folder / "ranks-2"), RunFolder(folder / "run")
    ours.path.mkdir()
    everywhere = {("ffn", 0): Choice(codec="int8_token")}
    add_measured(ours.path, measured("candidate", NAME, everywhere, virtual))
    compared = run.arm("compressed").compared
    compared.parent.mkdir(parents=True)
    top = [1] * len(predictions(real)[0].kl)
    seen = [text.model_dump() for text in predictions(real)[:texts]]
    write_lines(compared, [CompareLine(policy=0, baseline_top=top, candidate_top=top, **text) for text in seen])
    return compare_with_run(ours, run, recommended=NAME, verdict="PASS")


def test_a_run_that_does_what_was_predicted_confirms_it(tmp_path: Path) -> None:
    found = compared(tmp_path, virtual=0.1, real=0.1)
    assert found.agrees
    assert found.difference == {"uncompressed": 0.0, "compressed": 0.0}
    assert found.run_kl == found.predicted


def test_a_run_that_does_more_harm_does_not(tmp_path: Path) -> None:
    found = compared(tmp_path, virtual=0.1, real=0.2)
    assert not found.agrees
    assert found.difference["compressed"] == pytest.approx(0.1)
    assert found.run_kl.mean > found.predicted.high


def test_texts_that_the_run_did_not_predict_are_left_out(tmp_path: Path) -> None:
    found = compared(tmp_path, virtual=0.1, real=0.1, texts=8)
    assert found.agrees


def test_a_run_without_predictions_confirms_nothing(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no text was predicted by both"):
        compared(tmp_path, virtual=0.1, real=0.1, texts=0)
