from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase

from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.write import write_report
from tests.answers import boolq, rewrite_samples
from tests.rank_logs import checked, tally, write_live_check
from tests.runs import finished, write_run


def written(folder: RunFolder) -> dict[str, TestCase]:
    """Write a run's report and return its cases by `PART.CHECK`, as JUnit's own reader finds them."""
    write_report(build_report(folder), folder)
    document = JUnitXml.fromfile(str(folder.junit))
    (suite,) = document
    cases = list(suite)
    assert suite.name == "smollm2-cpu"
    assert document.tests == suite.tests == len(cases)
    for kind, count in ((Failure, suite.failures), (Error, suite.errors), (Skipped, suite.skipped)):
        assert count == sum(isinstance(result, kind) for case in cases for result in case.result)
    found = {f"{case.classname.removeprefix('smollm2-cpu.')}.{case.name}": case for case in cases}
    assert len(found) == len(cases)
    return found


def kinds(cases: dict[str, TestCase]) -> dict[str, str]:
    return {name: type(result).__name__ for name, case in cases.items() for result in case.result}


def test_every_check_of_a_good_run_is_a_case(plan: Plan) -> None:
    cases = written(finished(plan))
    assert set(cases) == {
        "run.verdict",
        *(f"arm.{arm}.{check}" for arm in ("baseline", "compressed") for check in ("known answer", "engagement")),
        "arm.compressed.live check",
        *("task.boolq.verdict", "task.boolq.max_drop", "task.gsm8k.verdict"),
        *(
            f"fidelity.{key}"
            for key in ("verdict", "max_mean_kl", "max_text_kl", "max_loglikelihood_drop", "min_same_top")
        ),
    }
    assert kinds(cases) == {"task.gsm8k.verdict": "Skipped"}
    assert cases["task.boolq.verdict"].time == 10.0


def test_harm_is_a_failure_of_its_gate_and_of_the_run(plan: Plan) -> None:
    folder = finished(plan)
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(*range(64)))
    cases = written(folder)
    assert kinds(cases) == {
        **dict.fromkeys(("run.verdict", "task.boolq.verdict", "task.boolq.max_drop"), "Failure"),
        "task.gsm8k.verdict": "Skipped",
    }
    (result,) = cases["task.boolq.max_drop"].result
    assert result.message.startswith("FAIL: boolq: accuracy changed by -4")
    assert result.type == "FAIL"


def test_what_decides_nothing_is_skipped_and_not_passed(plan: Plan) -> None:
    folder = finished(plan)
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(*range(3, 13)))
    assert kinds(written(folder))["run.verdict"] == "Skipped"


def test_what_is_not_proven_is_an_error(plan: Plan) -> None:
    folder = finished(plan)
    (folder.arm("compressed").engagement / "rank-1.jsonl").unlink()
    wrong = [checked(call, rest=tally(beyond=1, over_bound=3.0)) for call in range(6)]
    for log in folder.arm("compressed").engagement.glob("live-*"):
        log.unlink()
    write_live_check(folder.arm("compressed").engagement, wrong)
    found = kinds(written(folder))
    assert {name for name, kind in found.items() if kind == "Error"} == {
        "run.verdict",
        "arm.compressed.engagement",
        "arm.compressed.live check",
    }


def test_a_run_that_broke_before_its_first_server_was_up_has_one_too(plan: Plan) -> None:
    write_run(plan, errors=["baseline: the server ended\n\x1b[31m::error::<oops> ]]> \u202e"])
    folder = RunFolder(Path(plan.folder))
    cases = written(folder)
    assert kinds(cases)["run.verdict"] == kinds(cases)["arm.baseline.known answer"] == "Error"
    (result,) = cases["run.verdict"].result
    assert "<oops> ]]>" in str(result.text)
