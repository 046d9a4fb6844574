"""Servers that hang, drip or write late: a run ends, and says what it waited for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.suite import Deadlines
from harness.plan.plan import Plan
from harness.records.predictions import FIDELITY, TextRecord
from harness.records.run import write_lines
from harness.records.run_folder import ArmFolder
from harness.records.samples import write_samples
from harness.run import asking, pipeline
from harness.run.display import Display
from tests.answers import failed, make_choice, make_text

pytestmark = pytest.mark.usefixtures("no_sglang", "no_strays")
MakePlan = Callable[..., Plan]


def within(plan: Plan, **deadlines: int) -> Plan:
    return plan.model_copy(update={"request_timeout_s": 3, "deadlines": Deadlines(**deadlines)})


@pytest.mark.parametrize("mode", ["hangs", "drips"])
def test_a_server_that_does_not_answer_is_given_up_and_the_other_is_not_started(
    fake_plan: MakePlan, display: Display, mode: str
) -> None:
    plan = within(fake_plan(mode))
    report = pipeline.run(plan, display)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[0].startswith("baseline: 3 requests in a row failed, the last: POST /generate: ")
    assert not (Path(plan.folder) / "compressed").exists()


def test_a_task_without_an_answer_is_given_up(fake_plan: MakePlan, display: Display) -> None:
    report = pipeline.run(within(fake_plan("hangs"), answer_s=2, failures=99), display)
    assert report.reasons[0] == "baseline: no answer for more than 2 s (deadlines.answer_s of the suite)"


def test_no_answer_is_waited_for_while_a_server_starts(fake_plan: MakePlan, display: Display) -> None:
    """Of two that run together the second starts when the first has been up, and not asked, for longer."""
    plan = within(fake_plan("starts-late"), answer_s=1).model_copy(update={"together": True})
    assert pipeline.run(plan, display).verdict == "PASS"


def test_a_run_that_takes_too_long_is_given_up(fake_plan: MakePlan, display: Display) -> None:
    report = pipeline.run(within(fake_plan("hangs"), run_s=1, failures=99), display)
    assert report.reasons[0] == "baseline: the run has taken more than 1 s (deadlines.run_s of the suite)"


def test_failures_that_are_not_in_a_row_give_nothing_up(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan(compressed="fails-some")
    # A question of boolq is two requests, so that every third makes at most two questions in a row fail.
    tasks = {name: task.model_copy(update={"concurrency": 1}) for name, task in plan.tasks.items()}
    report = pipeline.run(plan.model_copy(update={"tasks": tasks}), display)
    assert report.verdict == "ERROR"
    assert any("requests failed" in reason for reason in report.reasons)
    assert (Path(plan.folder) / "compressed" / "fidelity.jsonl").exists()


def test_of_failed_requests_no_more_is_read_than_a_batch_added(tmp_path: Path) -> None:
    folder = ArmFolder(tmp_path)
    write_samples(folder.samples("boolq"), [failed(make_choice(0)), make_choice(1)])
    of_task, of_texts = asking.new_answers(folder, "boolq"), asking.new_answers(folder, FIDELITY)
    write_samples(folder.samples("boolq"), [failed(make_choice(2)), make_choice(3)])
    write_lines(folder.predictions, [make_text("boolq/0"), failed_text()])
    assert [answer["error"] for answer in of_task.read()] == ["HTTP 500", None]
    assert [answer["error"] for answer in of_texts.read()] == [None, "HTTP 500"]


def failed_text() -> TextRecord:
    return TextRecord(text="boolq/1", text_hash="hash", error="HTTP 500")


@pytest.mark.parametrize("late", ["late-rank", "late"])
def test_ranks_that_write_late_are_waited_for(fake_plan: MakePlan, display: Display, late: str) -> None:
    """One of them a third of a second, all of them half a second after the answer."""
    report = pipeline.run(fake_plan(late, late), display)
    assert report.verdict == "PASS", report.reasons
