"""A run judged again by other thresholds, without a server; what it was judged by at first stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.history.record import remember
from harness.plan.plan import Plan
from harness.records.run import ArmRecord, read_record, write_record
from harness.report.model import Report
from tests.history.nights import Command, write_night

Judge = Callable[..., tuple[int, str]]


@pytest.fixture
def judge(command: Command) -> Judge:
    return lambda run, thresholds: command("report", run, "--thresholds", thresholds)


def other(folder: Path, *replaced: tuple[str, str]) -> Path:
    text = (folder / "thresholds.yaml").read_text()
    for before, after in replaced:
        assert before in text
        text = text.replace(before, after)
    file = folder / "other.yaml"
    file.write_text(text)
    return file


def test_a_red_night_is_judged_again_and_its_first_judgement_stays(tmp_path: Path, judge: Judge) -> None:
    run = write_night(tmp_path, 0, lost=range(28))
    before = {file: file.read_bytes() for file in (run.report, run.markdown, run.plan)}
    assert read_record(run.report, Report).verdict == "FAIL"
    wider = other(tmp_path, ("max_drop: 0.1", "max_drop: 0.4"))
    code, said = judge(run.path, wider)
    assert code == 0
    assert f"judged again by {wider}" in said
    assert {file: file.read_bytes() for file in before} == before
    [again] = (run.path / "judged-again").iterdir()
    assert read_record(again / "report.json", Report).verdict == "PASS"
    assert (again / "thresholds.yaml").read_text() == wider.read_text()
    assert f"--thresholds {wider}" in read_record(again / "report.json", Report).rebuild
    # The memory goes by what it was judged by that night.
    assert remember(run).verdict == "FAIL"


def test_a_second_judgement_is_beside_the_first(tmp_path: Path, judge: Judge) -> None:
    run = write_night(tmp_path, 0, lost=range(28))
    judge(run.path, other(tmp_path, ("max_drop: 0.1", "max_drop: 0.4")))
    code, _ = judge(run.path, tmp_path / "thresholds.yaml")
    assert code == 1
    assert len(list((run.path / "judged-again").iterdir())) == 2


def test_thresholds_for_another_model_task_or_protocol_are_refused(tmp_path: Path, judge: Judge) -> None:
    run = write_night(tmp_path, 0)
    code, said = judge(run.path, other(tmp_path, ("SmolLM2-135M-Instruct", "Another")))
    assert code == 3
    assert "has no rows for SmolLM2-135M-Instruct" in said
    code, said = judge(run.path, other(tmp_path, ("boolq:", "mine:")))
    assert code == 3
    assert "boolq: has no row" in said
    code, said = judge(run.path, tmp_path / "thresholds.yaml")
    assert code == 0
    record = read_record(run.arm("compressed").record, ArmRecord)
    task = record.tasks["boolq"].model_copy(update={"protocol_text": "other"})
    write_record(run.arm("compressed").record, record.model_copy(update={"tasks": {"boolq": task}}))
    code, said = judge(run.path, tmp_path / "thresholds.yaml")
    assert code == 3
    assert "the numbers hold for another protocol than the run's" in said


def test_another_metric_than_the_one_that_found_what_is_right_is_refused(tmp_path: Path, judge: Judge) -> None:
    run = write_night(tmp_path, 0)
    code, said = judge(run.path, other(tmp_path, ("acc,none", "acc_norm,none")))
    assert code == 3
    assert "boolq: judges by acc_norm, and what is right in the run's samples was found by acc: run it anew" in said


def test_a_run_that_ended_early_cannot_be_judged_by_others(tmp_path: Path, judge: Judge) -> None:
    run = write_night(tmp_path, 0)
    plan = read_record(run.plan, Plan)
    task = plan.tasks["boolq"].model_copy(update={"questions": 1000})
    write_record(run.plan, plan.model_copy(update={"tasks": {"boolq": task}}))
    code, said = judge(run.path, other(tmp_path, ("max_drop: 0.1", "max_drop: 0.05")))
    assert code == 3
    assert "the run ended it after 128 of 1000 questions" in said


def test_what_is_no_run_of_a_suite_is_refused(tmp_path: Path, judge: Judge) -> None:
    run = write_night(tmp_path, 0)
    code, said = judge(tmp_path, tmp_path / "thresholds.yaml")
    assert code == 3
    assert "is no run of a suite" in said
    assert not (run.path / "judged-again").exists()
