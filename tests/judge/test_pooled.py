"""All tasks together, built from a run's files; and what keeps a run from being judged."""

from pathlib import Path
from typing import Any

import pytest

from harness.config.thresholds import PooledThreshold, Threshold
from harness.plan.plan import Plan
from harness.records.samples import Sample
from harness.report.build import build_report
from harness.report.model import Report
from tests.answers import failed, gsm8k, make_choice, make_sample
from tests.runs import write_arm, write_run
from tests.support import make, run_folder

N = 400


def planned(tmp_path: Path, *, rows: dict[str, dict[str, Any]] | None = None, **changed: Any) -> Plan:
    """Return a plan of two tasks of 400 questions, each with a margin of 5 points, both together with 3."""
    plan = make(tmp_path, **changed)
    usual = {"boolq": {"metric": "acc,none"}, "gsm8k": {"metric": "exact_match,last-number"}}
    tasks = {
        name: task.model_copy(
            update={
                "questions": N,
                "threshold": Threshold.model_validate(
                    {"max_drop": 0.05, "source": "here", **usual[name], **(rows or {}).get(name, {})}
                ),
            }
        )
        for name, task in plan.tasks.items()
    }
    return plan.model_copy(update={"tasks": tasks, "pooled": PooledThreshold(max_drop=0.03, source="here")})


def answers(task: str, *, wrong: int = 0, **changed: Any) -> list[Sample]:
    one = make_choice if task == "boolq" else make_sample
    return [one(number, right=number >= wrong, **changed) for number in range(N)]


def judged(plan: Plan, lost: dict[str, int], again: dict[str, int] | None = None) -> Report:
    write_run(plan)
    write_arm(plan, "baseline", {task: answers(task) for task in plan.tasks})
    write_arm(plan, "compressed", {task: answers(task, wrong=lost.get(task, 0)) for task in plan.tasks})
    if again is not None:
        write_arm(plan, "baseline-again", {task: answers(task, wrong=again.get(task, 0)) for task in plan.tasks})
    return build_report(run_folder(plan))


@pytest.mark.parametrize(("lost", "verdict"), [(0, "PASS"), (12, "INCONCLUSIVE"), (16, "INCONCLUSIVE"), (28, "FAIL")])
def test_a_drop_that_no_task_shows_alone_is_shown_by_all(tmp_path: Path, lost: int, verdict: str) -> None:
    report = judged(planned(tmp_path), {"boolq": lost, "gsm8k": lost})
    assert report.pooled is not None
    assert (report.pooled.n, report.pooled.paired.baseline_only) == (2 * N, 2 * lost)
    assert report.pooled.verdict == report.verdict == verdict
    if verdict == "FAIL":
        # 7 points lost of 5: each task by itself is not sure at its small part of the budget.
        assert [task.verdict for task in report.tasks.values()] == ["INCONCLUSIVE", "INCONCLUSIVE"]
        assert "pooled (boolq, gsm8k): accuracy changed by -7.0 points on 800" in report.reasons[0]


def test_a_task_that_cannot_judge_makes_the_whole_undecided(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    write_run(plan)
    guessing = [make_choice(number, right=number % 4 < 2) for number in range(N)]
    for arm in ("baseline", "compressed"):
        write_arm(plan, arm, {"boolq": guessing, "gsm8k": answers("gsm8k")})
    report = build_report(run_folder(plan))
    assert report.verdict == "INCONCLUSIVE"
    assert report.pooled is not None
    assert report.pooled.reasons[0].startswith("pooled: boolq: cannot judge a drop: the baseline is right on 0.500")
    assert report.tasks["gsm8k"].verdict == "PASS"


@pytest.mark.parametrize(("failures", "verdict", "pooled"), [(1, "PASS", "PASS"), (100, "ERROR", "INCONCLUSIVE")])
def test_failed_requests_count_where_their_answers_could_turn_the_verdict(
    tmp_path: Path, failures: int, verdict: str, pooled: str
) -> None:
    plan = planned(tmp_path)
    write_run(plan)
    broken = [failed(sample) if number < failures else sample for number, sample in enumerate(answers("boolq"))]
    write_arm(plan, "baseline", {"boolq": answers("boolq"), "gsm8k": answers("gsm8k")})
    write_arm(plan, "compressed", {"boolq": broken, "gsm8k": answers("gsm8k")})
    report = build_report(run_folder(plan))
    assert report.verdict == verdict
    assert report.pooled is not None
    assert report.pooled.verdict == pooled


@pytest.mark.parametrize("lost", [{}, {"boolq": 100}])
def test_a_baseline_that_differs_from_itself_makes_the_run_inconclusive(tmp_path: Path, lost: dict[str, int]) -> None:
    report = judged(planned(tmp_path, noise_floor=True), lost, again={"boolq": 20})
    assert report.verdict == "INCONCLUSIVE"
    would = "FAIL" if lost else "PASS"
    assert "20 answers were lost and 0 won by starting it again" in report.reasons[0]
    assert f"Without that it would be {would}" in report.reasons[0]
    assert report.pooled is not None
    assert f"Without that it would be {would}" in report.pooled.reasons[0]


def test_a_steady_baseline_changes_nothing(tmp_path: Path) -> None:
    assert judged(planned(tmp_path, noise_floor=True), {}, again={}).verdict == "PASS"


def test_questions_of_one_passage_count_as_fewer(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    write_run(plan)
    shared = [f"passage {number // 2}" for number in range(N)]

    def of_passages(wrong: int) -> list[Sample]:
        rows = answers("boolq", wrong=wrong)
        return [row.model_copy(update={"cluster": its}) for row, its in zip(rows, shared, strict=True)]

    write_arm(plan, "baseline", {"boolq": of_passages(0), "gsm8k": answers("gsm8k")})
    write_arm(plan, "compressed", {"boolq": of_passages(12), "gsm8k": answers("gsm8k")})
    report = build_report(run_folder(plan))
    drop = report.tasks["boolq"].tests.drop
    assert drop is not None
    assert drop.design_effect == pytest.approx(2.0, abs=0.1)
    assert report.pooled is not None
    assert 1 < report.pooled.drop.design_effect <= 2
    assert "they count as" in report.tasks["boolq"].reasons[0]


def test_upstreams_floor_is_looked_for_on_its_own_rows(tmp_path: Path) -> None:
    """The first rows of the data, wherever they stand in the order of asking; a miss is a WARNING."""
    row = {"floor": 0.85, "floor_rule": "upstream", "floor_questions": 50}
    plan = planned(tmp_path, rows={"gsm8k": row})
    write_run(plan)
    turned = [make_sample(number, right=number < N - 10, row=N - 1 - number) for number in range(N)]
    usual = [make_sample(number, row=N - 1 - number) for number in range(N)]
    write_arm(plan, "baseline", {"boolq": answers("boolq"), "gsm8k": usual})
    write_arm(plan, "compressed", {"boolq": answers("boolq"), "gsm8k": turned})
    report = build_report(run_folder(plan))
    tests = report.tasks["gsm8k"].tests
    assert (tests.floor_right, tests.floor_n) == (40, 50)
    assert tests.floor_miss == 0.0
    (warning,) = [text for text in report.warnings if "upstream's own rule is missed" in text]
    assert "0.8000 of its 50 questions, floor 0.85; a harmless model of the baseline's accuracy, 1.000" in warning
    assert report.tasks["gsm8k"].verdict != "FAIL"


def test_a_run_of_tasks_alone_has_no_pool(tmp_path: Path) -> None:
    plan = make(tmp_path)
    write_run(plan)
    for arm in ("baseline", "compressed"):
        write_arm(plan, arm, {"boolq": [make_choice(number) for number in range(128)], "gsm8k": gsm8k()})
    assert build_report(run_folder(plan)).pooled is None
