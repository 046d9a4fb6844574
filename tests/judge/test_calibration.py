"""What thresholds take and miss, from baselines alone; floors, and a change that can be applied."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.config.load import load
from harness.judge.calibration import Starts, build_calibration
from harness.judge.margin_chances import missed_by, questions_for
from harness.places import ROOT, THRESHOLDS
from harness.plan.plan import Plan
from harness.plan.preflight import Sglang
from harness.records.samples import Sample
from harness.report.calibration import show_calibration, write_calibration
from harness.run import pipeline, setup
from harness.run.display import Display
from harness.stats.planning import drop_outcomes
from tests.answers import boolq, failed, gsm8k
from tests.runs import write_arm, write_run
from tests.support import make, run_folder


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


def starts(*accuracies: float, n: int = 1000, noise: float = 0.0) -> Starts:
    return Starts(n=n, accuracies=accuracies, noise=noise)


def test_the_floor_is_missed_by_harmless_compression_once_in_a_hundred_runs() -> None:
    """Starts of a baseline and of a harmless arm are drawn, a floor is made of the first three, and the arm falls."""
    rng = np.random.default_rng(0)
    n, turn, spread = 1000, 0.04, 0.004
    missed = []
    for _ in range(4000):
        three = rng.normal(0.88, spread, 3)
        arm = rng.normal(0.88, spread) + (rng.binomial(n, turn / 2) - rng.binomial(n, turn / 2)) / n
        found = starts(*three, n=n).floor()
        missed.append(found is not None and arm < found)
    assert np.mean(missed) < 0.015


def test_the_floor_comes_from_starts_not_from_new_questions() -> None:
    found = starts(0.88, 0.88, 0.88, n=200).floor()
    # 2.33 standard deviations of 4 % of 200 turning are 3.3 points; new questions would make it 5.3.
    assert found == 0.845
    wider = starts(0.87, 0.88, 0.89, n=200).floor()
    assert wider is not None
    assert wider < found
    assert starts(0.01, 0.01, 0.01, n=200).floor() is None


def test_what_turns_by_itself_moves_a_start_too() -> None:
    assert starts(0.8, 0.8, 0.8).spread == 0
    # Six of a thousand differ between two starts: each start's accuracy has half of that variance.
    assert starts(0.8, 0.8, 0.8, noise=0.006).spread == pytest.approx(sqrt(0.003 / 1000))
    assert starts(0.78, 0.8, 0.82, noise=0.006).spread == pytest.approx(0.02)
    assert Starts(n=10, accuracies=[0.8], noise=None).spread is None


def test_a_second_start_shows_what_turns_by_itself_and_no_more_than_that(tmp_path: Path) -> None:
    one = build_calibration(run_folder(measured(tmp_path / "one", boolq(1, 2)))).tasks["boolq"]
    two = build_calibration(run_folder(measured(tmp_path / "two", boolq(1, 2), boolq(2, 3, 4)))).tasks["boolq"]
    assert (one.noise, two.noise) == (None, 3 / 128)
    assert two.n == one.n
    assert {chances.discordance for chances in two.margins} == {
        round(chances.discordance + 3 / 128, 6) for chances in one.margins
    }
    for found, count in ((one, 1), (two, 2)):
        assert found.floor is None
        assert found.reasons[0] == (
            f"no floor: by how much starts differ is known from 3 starts on, here {count}: give --runs 3 or more"
        )


def test_the_margin_is_the_owners_and_what_it_takes_is_said(tmp_path: Path) -> None:
    found = build_calibration(run_folder(measured(tmp_path, boolq(1), boolq(1), boolq(1))))
    boolq_found = found.tasks["boolq"]
    own = [row for row in boolq_found.margins if row.own]
    assert [(row.max_drop, row.discordance) for row in own] == [(0.1, 0.02), (0.1, 0.04), (0.1, 0.08)]
    for row in own:
        assert row.questions is not None
        assert drop_outcomes(row.questions, row.discordance, 0.0, 0.1).passes >= 0.95
        assert drop_outcomes(round(row.questions * 0.9), row.discordance, 0.0, 0.1).passes < 0.95
        assert row.missed is not None
        assert drop_outcomes(128, max(0.04, row.missed), row.missed, 0.1).passes >= 0.45
    [why] = [text for text in boolq_found.reasons if text.startswith("max_drop")]
    assert why.startswith(
        "max_drop stays 0.1, which is the owner's: harmless compression PASSes in 95% of runs with "
    )
    assert "a true drop of 5.2 points PASSes in every second" in why
    assert "max_drop" not in "".join(line for line in found.diff.splitlines() if line.startswith(("+", "-")))


def test_wider_margins_pass_more_and_miss_more(tmp_path: Path) -> None:
    found = build_calibration(run_folder(measured(tmp_path, boolq(1)))).tasks["boolq"]
    at_four = [row for row in found.margins if row.discordance == 0.04]
    passes, missed = [row.passes for row in at_four], [row.missed or 0.0 for row in at_four]
    assert passes == sorted(passes)
    assert missed == sorted(missed)
    assert all(row.missed is None or row.missed < row.max_drop for row in found.margins)
    assert all(0 <= row.fails <= 0.05 for row in found.margins)


def test_a_margin_that_takes_more_questions_than_there_are_says_so() -> None:
    assert questions_for(0.0005, 0.08) is None
    assert questions_for(0.0, 0.08) is None
    assert missed_by(64, 0.02, 0.08) is None


def test_a_floor_is_lowered_only_where_that_is_allowed(tmp_path: Path) -> None:
    answers = boolq(*range(20))
    plan = measured(tmp_path, answers, answers, answers)
    row = plan.tasks["boolq"].threshold.model_copy(update={"floor": 0.84})
    higher = plan.model_copy(
        update={"tasks": {**plan.tasks, "boolq": plan.tasks["boolq"].model_copy(update={"threshold": row})}}
    )
    write_run(higher, versions={"sglang": "0.5.23"})
    file = tmp_path / "thresholds.yaml"
    found = build_calibration(run_folder(higher), file)
    assert (found.tasks["boolq"].floor, found.diff) == (None, "")
    assert "floor stays 0.84: floor 0.8 of these 128 questions: " in found.tasks["boolq"].reasons[0]
    assert found.tasks["boolq"].reasons[0].endswith("that is wider than today's, which takes --allow-wider")
    assert found.tasks["boolq"].current_alarms["0.04"] == pytest.approx(0.41, abs=0.02)
    write_run(higher.model_copy(update={"allow_wider": True}), versions={"sglang": "0.5.23"})
    assert build_calibration(run_folder(higher), file).tasks["boolq"].floor == 0.8


def test_the_change_can_be_applied_and_then_loads(tmp_path: Path) -> None:
    plan = measured(tmp_path, *[boolq(*range(20))] * 3)
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
    assert row.floor == found.tasks["boolq"].floor == 0.8
    # A floor of these questions says nothing of fewer; margin and source are the owner's.
    owners = before.models["SmolLM2-135M-Instruct"].tasks["boolq"]
    assert (row.min_questions, row.max_drop, row.source) == (128, owners.max_drop, owners.source)
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
    found = build_calibration(run_folder(measured(tmp_path, boolq(), boolq(), boolq())))
    assert found.tasks["gsm8k"].floor is None
    assert found.tasks["gsm8k"].reasons == ["no floor: the row is report_only"]
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
    folder = run_folder(measured(tmp_path, boolq(*range(20)), boolq(*range(21)), boolq(*range(20))))
    found = write_calibration(folder)
    assert json.loads(folder.calibration.read_text())["tasks"]["boolq"]["floor"] == found.tasks["boolq"].floor
    text = folder.calibration_markdown.read_text()
    assert "```diff\n--- a/thresholds.yaml" in text
    assert "## boolq: what a margin takes, and what it misses" in text
    show_calibration(found, Console(width=160), folder)
    said = capsys.readouterr().out
    assert any(line.startswith("+") and "boolq version 1" in line for line in said.splitlines())
    assert "max_drop stays 0.1, which is the owner's" in said
    assert "report: " in said


def test_a_whole_calibration(
    fake_plan: Callable[..., Plan], display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    sglang = Sglang(
        version="fake", settings=frozenset({"tp_size", "enable_quant_communications"}), packages="none", plugin="f00"
    )
    monkeypatch.setattr(setup, "check_plan", lambda _plan: sglang)
    plan = fake_plan()
    smol = plan.model_copy(update={"model": "SmolLM2-135M-Instruct", "arms": plan.arms[:1]})
    found = pipeline.calibrate(smol, display)
    assert found.errors == []
    assert found.tasks["boolq"].n == 6
    assert run_folder(plan).calibration_markdown.exists()
    assert not (Path(plan.folder).parent / "latest").exists()
    assert ROOT / "thresholds.yaml" == THRESHOLDS
