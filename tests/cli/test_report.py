"""Reports that are built again, and runs that go on."""

import json
import re
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.records.run import RunRecord, read_record, write_record
from harness.report.build import build_report
from tests.answers import boolq, gsm8k
from tests.cli.harness import Harness
from tests.runs import write_arm, write_run
from tests.support import make, run_folder


@pytest.mark.parametrize(("lost", "verdict", "code"), [(0, "PASS", 0), (60, "FAIL", 1), (10, "INCONCLUSIVE", 2)])
def test_a_report_is_built_again_and_ends_with_the_runs_code(
    harness: Harness, lost: int, verdict: str, code: int
) -> None:
    plan = make(harness.folder)
    write_run(plan)
    write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    write_arm(plan, "compressed", {"boolq": boolq(*range(lost)), "gsm8k": gsm8k()})
    ran = harness("report", plan.folder)
    assert ran.code == code
    assert re.search(rf"^{verdict} (with \d WARNINGS?, )?smollm2-cpu: ", ran.out, re.MULTILINE)
    assert ("WARNING boolq: more answers are lost than won" in ran.out) is (lost > 0)
    assert "\x1b" not in ran.out
    assert (Path(plan.folder) / "report.json").is_file()
    assert not (harness.folder / "reports" / "latest").exists()
    assert build_report(run_folder(plan)).rebuild.endswith(plan.folder)


def test_a_calibrations_proposals_are_built_again(harness: Harness) -> None:
    plan = make(harness.folder, baselines=2, early_stop=False)
    write_run(plan, versions={"sglang": "0.5.23"})
    for arm in plan.arms:
        write_arm(plan, arm.name, {"boolq": boolq(*range(20)), "gsm8k": gsm8k(*range(16))})
    first, again = harness("report", plan.folder), harness("report", plan.folder)
    assert (first.code, again.code) == (0, 0), first.err
    assert "max_drop" in first.out
    assert first.out == again.out
    folder = run_folder(plan)
    assert first.out.splitlines()[-1] == f"report: {folder.calibration_markdown}"
    assert json.loads(folder.calibration.read_text())["tasks"]["boolq"]["n"] == 128
    assert not folder.report.exists()
    write_run(plan, errors=["baseline: the server died"])
    broken = harness("report", plan.folder)
    assert broken.code == 3
    assert "ERROR baseline: the server died" in broken.out


def test_a_calibration_plans_its_baselines_alone(harness: Harness) -> None:
    planned: list[Plan] = []

    def carried_out(plan: Plan, _display: object, **_: bool) -> None:
        planned.append(plan)
        raise HarnessError("enough")

    harness.monkeypatch.setattr("harness.run.pipeline.calibrate", carried_out)
    ran = harness.on_tiny_data("calibrate", "--runs", "2")
    assert (ran.code, ran.err) == (3, "ERROR\nenough\n")
    assert [arm.name for arm in planned[0].arms] == ["baseline", "baseline-2"]
    assert planned[0].calibrates


@pytest.mark.parametrize("command", ["accuracy", "calibrate"])
def test_a_run_goes_on_as_it_was_planned(harness: Harness, command: str) -> None:
    ran = harness(command, "--resume", str(harness.folder), "--limit", "3", "--port", "4")
    assert ran.code == 3
    assert "leave --limit, --port out, --resume stands alone" in ran.err


def test_a_run_that_ended_or_is_none_does_not_go_on(harness: Harness) -> None:
    assert "plan.json cannot be read" in harness("accuracy", "--resume", str(harness.folder)).err
    plan = make(harness.folder)
    write_run(plan)
    ran = harness("accuracy", "--resume", plan.folder)
    assert (ran.code, ran.err.count("nothing to resume")) == (3, 1)


def test_a_run_goes_on_under_its_own_command(harness: Harness) -> None:
    plan = make(harness.folder)
    write_run(plan, errors=["baseline: the server died"])
    record = read_record(run_folder(plan).run, RunRecord)
    write_record(run_folder(plan).run, record.model_copy(update={"state": "broken"}))
    ran = harness("calibrate", "--resume", plan.folder)
    assert ran.code == 3
    assert "is a run of `accuracy`: resume it with that" in ran.err


def test_a_report_of_nothing(harness: Harness) -> None:
    ran = harness("report", str(harness.folder))
    assert ran.code == 3
    assert "plan.json cannot be read" in ran.err
