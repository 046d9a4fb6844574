"""Thresholds proposed from baselines alone: the numbers, the reasons, and a change that can be applied."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import binom

from harness.config.load import load
from harness.judge.calibration import FALSE_ALARM, build_calibration
from harness.places import ROOT, THRESHOLDS
from harness.plan.plan import Plan
from harness.plan.preflight import Sglang
from harness.records.samples import Sample
from harness.report.calibration import show_calibration, write_calibration
from harness.run import pipeline, setup
from harness.run.display import Display
from tests.support import boolq, failed, gsm8k, make, run_folder, write_arm, write_run


def measured(tmp_path: Path, *runs: Sequence[Sample]) -> Plan:
    """Write a finished calibration of the default suite with these answers to boolq."""
    plan = make(tmp_path, baselines=len(runs), early_stop=False)
    write_run(plan, versions={"sglang": "0.5.23"})
    for arm, samples in zip(plan.arms, runs, strict=True):
        write_arm(plan, arm.name, {"boolq": samples, "gsm8k": gsm8k(*range(16))})
    return plan


def test_a_calibration_plans_baselines_alone(tmp_path: Path) -> None:
    plan = make(tmp_path, baselines=3)
    assert [(arm.name, arm.compressed) for arm in plan.arms] == [
        ("baseline", False),
        ("baseline-2", False),
        ("baseline-3", False),
    ]


def test_the_floor_is_missed_by_an_unharmed_model_once_in_a_hundred_runs(tmp_path: Path) -> None:
    found = build_calibration(run_folder(measured(tmp_path, boolq(*range(28))))).tasks["boolq"]
    assert (found.n, found.accuracies) == (128, [100 / 128])
    assert found.floor is not None
    missed = binom.cdf(int(128 * found.floor - 1e-9), 128, 100 / 128)
    assert found.floor_false_alarm == pytest.approx(missed, abs=1e-3)
    assert missed <= FALSE_ALARM
    # Two points more would miss too often.
    assert binom.cdf(128 * (found.floor + 0.02), 128, 100 / 128) > FALSE_ALARM
    assert found.low < 100 / 128 < found.high
    assert found.floor_false_alarm_low is not None
    assert found.floor_false_alarm_low > missed
    assert found.noise is None


def test_a_second_run_shows_what_turns_by_itself_and_no_more_than_that(tmp_path: Path) -> None:
    one = build_calibration(run_folder(measured(tmp_path / "one", boolq(1, 2)))).tasks["boolq"]
    two = build_calibration(run_folder(measured(tmp_path / "two", boolq(1, 2), boolq(2, 3, 4)))).tasks["boolq"]
    assert two.noise == 3 / 128
    # The same questions again are no new questions.
    assert two.low < one.low
    assert two.n == one.n
    assert {chances.discordance for chances in two.margins} == {
        round(chances.discordance + 3 / 128, 6) for chances in one.margins
    }


def test_the_margins_chances_are_chances_and_wider_margins_pass_more(tmp_path: Path) -> None:
    found = build_calibration(run_folder(measured(tmp_path, boolq(1)))).tasks["boolq"]
    for row in found.margins:
        assert row.passes + row.fails + row.inconclusive == pytest.approx(1)
        assert row.fails <= 0.055
    at_eight = [row.passes for row in found.margins if row.discordance == 0.08]
    assert at_eight == sorted(at_eight)
    proposed = next((row.max_drop for row in found.margins if row.discordance == 0.08 and row.passes >= 0.95), None)
    assert found.max_drop == proposed


def test_the_change_can_be_applied_and_then_loads(tmp_path: Path) -> None:
    plan = measured(tmp_path, boolq(*range(20)))
    # The default model's own row judges nothing.
    copy = tmp_path / "thresholds.yaml"
    original = copy.read_text()
    _, before = load("smollm2-cpu", thresholds=copy)
    found = build_calibration(run_folder(plan), copy)
    assert found.diff
    subprocess.run(
        [shutil.which("git") or "git", "apply", "-"], cwd=tmp_path, input=found.diff, text=True, check=True
    )
    _, thresholds = load("smollm2-cpu", thresholds=copy)
    row = thresholds.models["SmolLM2-135M-Instruct"].tasks["boolq"]
    assert row.floor == found.tasks["boolq"].floor
    assert row.protocol == "boolq version 1"
    assert row.calibration is not None
    assert (row.calibration.questions, row.calibration.sglang) == (128, "0.5.23")
    # Everything else, comments included, is as it was.
    for model, rows in before.models.items():
        for task, row in rows.tasks.items():
            assert thresholds.models[model].tasks[task] == row or (model, task) == ("SmolLM2-135M-Instruct", "boolq")
    assert sum(line.startswith("#") for line in copy.read_text().splitlines()) == sum(
        line.startswith("#") for line in original.splitlines()
    )


def test_reported_tasks_stay_as_they_are(tmp_path: Path) -> None:
    found = build_calibration(run_folder(measured(tmp_path, boolq())))
    assert found.tasks["gsm8k"].floor is None
    assert "no floor: the baseline's accuracy of 0.000 leaves nothing to fall to" in found.tasks["gsm8k"].reasons
    assert "gsm8k version" not in found.diff


def test_a_failed_request_proposes_nothing(tmp_path: Path) -> None:
    answers = boolq()
    answers[5] = failed(answers[5])
    found = build_calibration(run_folder(measured(tmp_path, answers)))
    assert found.errors == ["boolq: 1 requests failed; a failed request is not a wrong answer"]
    assert found.diff == ""


def test_a_run_that_was_cut_off_proposes_nothing(tmp_path: Path) -> None:
    plan = measured(tmp_path, boolq()[:100])
    found = build_calibration(run_folder(plan))
    assert found.errors == ["boolq: 100 questions were answered, not 128"]
    write_run(plan, ["baseline: the server died"])
    found = build_calibration(run_folder(plan))
    assert (found.errors, found.tasks, found.diff) == (["baseline: the server died"], {}, "")


def test_what_people_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(measured(tmp_path, boolq(*range(20)), boolq(*range(21))))
    found = write_calibration(folder)
    assert json.loads(folder.calibration.read_text())["tasks"]["boolq"]["floor"] == found.tasks["boolq"].floor
    text = folder.calibration_markdown.read_text()
    assert "```diff\n--- a/thresholds.yaml" in text
    assert "## boolq: what a compression that costs nothing would come to" in text
    show_calibration(found, Console(width=160), folder)
    said = capsys.readouterr().out
    assert any(line.startswith("+") and "boolq version 1" in line for line in said.splitlines())
    assert "report: " in said


def test_a_whole_calibration(
    fake_plan: Callable[..., Plan], display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    sglang = Sglang(version="fake", settings=frozenset({"tp_size", "enable_quant_communications"}), packages="none")
    monkeypatch.setattr(setup, "check_plan", lambda _plan: sglang)
    plan = fake_plan()
    smol = plan.model_copy(update={"model": "SmolLM2-135M-Instruct", "arms": plan.arms[:1]})
    found = pipeline.calibrate(smol, display)
    assert found.errors == []
    assert found.tasks["boolq"].n == 6
    assert run_folder(plan).calibration_markdown.exists()
    assert not (Path(plan.folder).parent / "latest").exists()
    assert ROOT / "thresholds.yaml" == THRESHOLDS


def test_a_margin_that_so_few_questions_cannot_support_stays_and_says_so(tmp_path: Path) -> None:
    plan = make(tmp_path, baselines=1, early_stop=False, limit=64)
    write_run(plan, versions={"sglang": "0.5.23"})
    write_arm(plan, "baseline", {"boolq": boolq(1, 2)[:64], "gsm8k": gsm8k(*range(16))})
    found = build_calibration(run_folder(plan))
    assert plan.tasks["boolq"].threshold.max_drop == 0.1
    assert found.tasks["boolq"].max_drop is None
    [why] = [text for text in found.tasks["boolq"].reasons if "max_drop" in text]
    assert why.startswith("max_drop stays 0.1: with 64 questions no margin up to 10% lets")
    assert "-      max_drop" not in found.diff
    assert any(text.startswith("no max_drop: with 16 questions") for text in found.tasks["gsm8k"].reasons)
