"""The predictions of fixed texts in a report."""

import math
from pathlib import Path

import pytest

from harness.config.thresholds import FidelityThreshold
from harness.plan.plan import Plan
from harness.report.build import build_report
from harness.report.write import write_report
from tests.answers import binary_kl, boolq, gsm8k
from tests.runs import finished, reasons, write_arm
from tests.support import make


def judged_by(plan: Plan, row: FidelityThreshold | None) -> Plan:
    """Return the plan with another row for the predictions of fixed text."""
    assert plan.fidelity is not None
    return plan.model_copy(update={"fidelity": plan.fidelity.model_copy(update={"threshold": row})})


def test_the_fixed_texts_predictions_are_compared(plan: Plan) -> None:
    folder = finished(judged_by(plan, None), likely=0.3)
    report = build_report(folder)
    fidelity = report.fidelity
    assert fidelity is not None
    assert (fidelity.verdict, report.verdict) == ("REPORTED", "PASS")
    assert (fidelity.compressed.texts, fidelity.noise) == (64, None)
    assert fidelity.compressed.overall is not None
    assert fidelity.compressed.overall.kl.mean == pytest.approx(binary_kl(math.log(0.6), math.log(0.3)))
    assert [text for text in report.warnings if text.startswith("predictions of fixed text moved far: ")]
    write_report(report, folder)
    text = folder.markdown.read_text()
    assert "| all | 768 | 0.192 (0.192 to 0.192) |" in text
    assert "| gsm8k/9 | " not in text
    assert "| boolq/0 | 0 | `''` | `' 1'` | 0.192 | `' 1'` | `' 1'` |" in text


def test_predictions_of_a_baseline_and_its_double(tmp_path: Path) -> None:
    plan = judged_by(make(tmp_path, noise_floor=True), None)
    folder = finished(plan, likely=0.3)
    write_arm(plan, "baseline-again", {"boolq": boolq(3, 4), "gsm8k": gsm8k()}, likely=0.3)
    fidelity = build_report(folder).fidelity
    assert fidelity is not None
    assert fidelity.noise is not None
    assert fidelity.noise.overall == fidelity.compressed.overall
    # It moves as far by itself.
    assert fidelity.warnings == []


def test_predictions_are_judged_where_there_is_a_threshold(plan: Plan) -> None:
    folder = finished(judged_by(plan, FidelityThreshold(max_mean_kl=0.1, source="a test")), likely=0.3)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons[0].startswith(
        "fidelity: mean KL divergence 0.192 nats a token, allowed 0.1: the true value is above"
    )


def test_what_the_default_models_row_accepts_is_what_is_known(plan: Plan) -> None:
    folder = finished(plan)
    report = build_report(folder)
    assert report.fidelity is not None
    assert report.fidelity.verdict == "PASS"
    assert report.fidelity.reasons[-1].startswith("fidelity: no worse than known: int8_token, one_shot")
    write_report(report, folder)
    text = folder.markdown.read_text()
    assert "| accepted | 0.08 | 0.3 | 0.05 | 0.85 |" in text
    assert "| known | 0.0667 | 0.177 | 0.0314 | 0.876 |" in text
    assert "| seen | 0 | 0 | 0 | 1 |" in text


def test_texts_that_the_server_did_not_compare_are_an_error(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").compared
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert "fidelity: the compressed arm's server did not compare gsm8k/0: nothing of it was written" in why


def test_missing_predictions_are_an_error(plan: Plan) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").predictions
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert "fidelity: 55 of 64 texts are missing in the compressed arm" in why
    file.unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith("fidelity: compressed arm: ")
    assert why.count("fidelity: ") == 1


def test_a_run_without_fixed_texts_says_nothing_of_them(plan: Plan) -> None:
    folder = finished(plan.model_copy(update={"fidelity": None}))
    report = build_report(folder)
    assert report.fidelity is None
    write_report(report, folder)
    assert "fixed text" not in folder.markdown.read_text()
