"""A run that left less than a whole one is an ERROR that says what is missing, whatever it measured."""

import pytest

from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.records.run import CUT_OFF, RunRecord, read_record, write_record
from harness.report.build import build_report
from tests.answers import boolq, rewrite_samples
from tests.runs import ARMS, finished, reasons


@pytest.mark.parametrize("gone", [("baseline",), ("compressed",), ARMS])
def test_a_run_without_the_arms_records_is_an_error(plan: Plan, gone: tuple[str, ...]) -> None:
    folder = finished(plan)
    for arm in gone:
        folder.arm(arm).record.unlink()
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[: len(gone)] == [
        f"{arm} arm: it left no record (arm.json), so that nobody knows what its server was" for arm in gone
    ]


@pytest.mark.parametrize("arm", ARMS)
def test_missing_samples(plan: Plan, arm: str) -> None:
    folder = finished(plan)
    folder.arm(arm).samples("gsm8k").unlink()
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert why.startswith(f"gsm8k: {arm} arm: ")
    assert "that task was not finished" in why


@pytest.mark.parametrize("text", ["", "{\n"])
def test_cut_off_samples(plan: Plan, text: str) -> None:
    folder = finished(plan)
    file = folder.arm("compressed").samples("boolq")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]) + text)
    verdict, code, why = reasons(folder)
    assert (verdict, code) == ("ERROR", 3)
    assert ("119 questions are in one arm only" in why) is not bool(text)
    assert ("samples-boolq.jsonl:10: is not a sample" in why) is bool(text)


def test_fewer_questions_than_planned_in_both_arms(plan: Plan) -> None:
    folder = finished(plan)
    for arm in ARMS:
        rewrite_samples(folder.arm(arm).samples("boolq"), boolq()[:100])
    assert reasons(folder) == ("ERROR", 3, "boolq: 28 of 128 questions are missing")


def test_a_folder_that_is_no_run(plan: Plan) -> None:
    folder = finished(plan)
    folder.plan.unlink()
    with pytest.raises(HarnessError, match=r"plan.json cannot be read"):
        build_report(folder)


@pytest.mark.parametrize("content", [None, "", '{"started": '])
def test_a_run_without_its_record_is_an_error_whatever_it_measured(plan: Plan, content: str | None) -> None:
    folder = finished(plan)
    folder.run.unlink()
    if content is not None:
        folder.run.write_text(content)
    report = build_report(folder)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert "run.json" in report.reasons[0]
    assert report.tasks["boolq"].n == 128


def test_a_run_that_never_said_that_it_ended_was_cut_off(plan: Plan) -> None:
    folder = finished(plan)
    record = read_record(folder.run, RunRecord)
    write_record(folder.run, record.model_copy(update={"state": "running"}))
    report = build_report(folder)
    assert (report.verdict, report.reasons[0]) == ("ERROR", CUT_OFF)
    assert report.tasks["boolq"].n == 128


def test_a_report_says_how_often_its_run_was_resumed(plan: Plan) -> None:
    folder = finished(plan)
    record = read_record(folder.run, RunRecord)
    write_record(folder.run, record.model_copy(update={"resumed": ["2026-01-01: the power failed"]}))
    assert "the run was resumed after it had ended: 2026-01-01: the power failed" in build_report(folder).notes
