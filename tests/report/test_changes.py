from pathlib import Path

from harness.plan.plan import Plan
from harness.records.questions import keep_prompts
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.changes import changed_questions
from harness.report.terminal import worst_lines
from tests.answers import boolq, failed, gsm8k, make_choice, make_sample, rewrite_samples
from tests.runs import finished, write_arm, write_run
from tests.support import make, run_folder


def listed(folder: RunFolder) -> list[tuple[str, str, int]]:
    return [(entry.kind.value, entry.task, entry.number) for entry in changed_questions(build_report(folder), folder)]


def test_lost_questions_come_first_then_those_won(plan: Plan) -> None:
    assert listed(finished(plan)) == [
        ("lost", "boolq", 5),
        ("lost", "gsm8k", 0),
        ("lost", "gsm8k", 1),
        ("won", "boolq", 3),
    ]


def test_of_the_lost_those_whose_margin_fell_farthest_come_first(plan: Plan) -> None:
    folder = finished(plan)
    samples = boolq(4, 5, 6)
    samples[6] = make_choice(6, right=False, logprobs=[-0.1, -9.0])
    rewrite_samples(folder.arm("compressed").samples("boolq"), samples)
    assert listed(folder)[:2] == [("lost", "boolq", 6), ("lost", "boolq", 5)]


def test_another_wrong_answer_and_a_failed_request_are_told_apart(plan: Plan) -> None:
    write_run(plan)
    wrong = [make_sample(0, right=False), *gsm8k()[1:]]
    other = [make_sample(0, right=False, answer="7"), failed(make_sample(1)), *gsm8k()[2:]]
    write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": wrong})
    write_arm(plan, "compressed", {"boolq": boolq(), "gsm8k": other})
    assert listed(run_folder(plan)) == [("failed", "gsm8k", 1), ("other", "gsm8k", 0)]


def test_what_the_baseline_changes_by_itself_is_said(tmp_path: Path) -> None:
    plan = make(tmp_path, noise_floor=True)
    folder = finished(plan)
    write_arm(plan, "baseline-again", {"boolq": boolq(3, 4, 5), "gsm8k": gsm8k()})
    found = {(entry.task, entry.number): entry.by_itself for entry in changed_questions(build_report(folder), folder)}
    assert found == {("boolq", 5): True, ("boolq", 3): False, ("gsm8k", 0): False, ("gsm8k", 1): False}


def test_samples_that_cannot_be_read_are_left_out(plan: Plan) -> None:
    folder = finished(plan)
    folder.arm("compressed").samples("boolq").write_text("no sample\n")
    assert {entry.task for entry in changed_questions(build_report(folder), folder)} == {"gsm8k"}


def test_the_terminal_names_the_three_worst(plan: Plan) -> None:
    folder = finished(plan)
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(3, 4, 5, 6, 7))
    keep_prompts(
        folder.questions("boolq"), [f"It is {number}.\nis it \x1b[31m{number}?\nAnswer:" for number in range(128)]
    )
    first, *others = worst_lines(build_report(folder), folder)
    assert first == "lost: boolq, question 5: 'no', then 'yes', margin +1.00 to -1.00 nats: is it ␛[31m5?"
    assert len(others) == 3
    assert others[-1] == "and 2 more lost: see the page"


def test_the_terminal_names_none_where_none_was_lost(plan: Plan) -> None:
    write_run(plan)
    for arm in ("baseline", "compressed"):
        write_arm(plan, arm, {"boolq": boolq(), "gsm8k": gsm8k()})
    folder = run_folder(plan)
    assert worst_lines(build_report(folder), folder) == []
