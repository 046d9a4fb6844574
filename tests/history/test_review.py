"""Thresholds under review: their evidence from good nights, and proposals as a patch that only a person applies."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.thresholds import Thresholds
from harness.config.yaml_file import YamlFile
from harness.places import THRESHOLDS
from harness.stats import ALPHA
from harness.stats.planning import drop_outcomes
from tests.history.nights import Command, write_night

MODEL = "SmolLM2-135M-Instruct"
Review = Callable[..., tuple[int, str]]
# 0.6 and 0.65 are 0.0053 nats apart.
LIKELY, NIGHTS = 0.65, 10


@pytest.fixture
def review(command: Command) -> Review:
    def review(folder: Path, *arguments: str) -> tuple[int, str]:
        where = (f"--reports={folder / 'reports'}", f"--thresholds={folder / 'thresholds.yaml'}")
        return command("review", *where, *arguments)

    return review


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten good nights, and one that failed and is no evidence for a threshold."""
    folder = tmp_path_factory.mktemp("review")
    for number in range(NIGHTS):
        write_night(folder, number, wrong={number}, lost={number, number + 1, 50}, likely=LIKELY)
    write_night(folder, NIGHTS, lost=range(90), likely=0.3)
    return folder


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return to


def row(said: str, name: str) -> list[str]:
    [line] = [line for line in said.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_each_threshold_has_its_evidence(nights: Path, review: Review) -> None:
    code, said = review(nights)
    assert code == 0
    assert row(said, "boolq.max_drop")[1:6] == ["0.1", "10", "0 (0%)", "0 (0%)", "2026-03-01"]
    assert row(said, "fidelity.max_mean_kl")[1:7] == ["0.08", "10", "0 (0%)", "0 (0%)", "2026-03-01", "0.5.23"]
    [sees] = re.findall(
        r"boolq.max_drop: a drop of ([\d.]+) points FAILs in 80% of runs, one of ([\d.]+) points", said
    )
    # The exact chances say so themselves.
    seen, missed = (float(points) / 100 for points in sees)
    level = ALPHA / 4
    assert drop_outcomes(128, seen, seen, 0.1, fail_alpha=level).fails == pytest.approx(0.8, abs=0.03)
    assert drop_outcomes(128, max(missed, 0.016), missed, 0.1).passes == pytest.approx(0.5, abs=0.1)
    assert "the owner's: what a model may lose is for nobody else to say" in said


def test_a_proposal_is_a_patch_that_tightens_and_changes_nothing_else(
    nights: Path, tmp_path: Path, review: Review
) -> None:
    folder = copy_of(nights, tmp_path)
    file = folder / "thresholds.yaml"
    before = file.read_text()
    _, said = review(folder)
    assert file.read_text() == before
    patch = folder / "reports" / "review-smollm2-cpu.patch"
    assert patch.read_text() in said
    subprocess.run([shutil.which("git") or "git", "apply", str(patch)], cwd=folder, check=True)
    changed = [
        (old, new) for old, new in zip(before.splitlines(), file.read_text().splitlines(), strict=True) if old != new
    ]
    assert [new.split(":")[0].strip() for _, new in changed] == ["max_mean_kl", "max_text_kl", "min_same_top"]
    assert all("# " in new and "10 good nights" in new for _, new in changed)
    rows = YamlFile(file, Thresholds).content.models[MODEL].fidelity
    assert rows is not None
    assert rows.max_mean_kl == pytest.approx(0.0065, abs=0.0005)
    # Comments and all other rows are the project's own.
    assert "# What is accepted, per model and task, and why." in file.read_text()
    # By them the same nights pass, and there is nothing to propose any more.
    _, said = review(folder)
    assert row(said, "fidelity.max_mean_kl")[2:5] == ["10", "0 (0%)", "0 (0%)"]
    assert "not yet run with" in row(said, "fidelity.max_mean_kl")[5]
    assert "git apply" not in said


def test_nothing_wider_is_proposed_without_the_flag(nights: Path, tmp_path: Path, review: Review) -> None:
    folder = copy_of(nights, tmp_path)
    file = folder / "thresholds.yaml"
    text = file.read_text()
    for limit in ("max_mean_kl: 0.08", "max_text_kl: 0.3"):
        assert limit in text
        text = text.replace(limit, f"{limit.split(':')[0]}: 0.001")
    file.write_text(text)
    _, said = review(folder)
    assert row(said, "fidelity.max_mean_kl")[3] == "10 (100%)"
    assert "wider than today, which takes --allow-wider" in said
    assert not re.search(r"^\+ .*max_(mean|text)_kl", said, re.MULTILINE)
    _, said = review(folder, "--allow-wider")
    assert "+      max_mean_kl: 0.0065 # " in said
    assert file.read_text() == text


def test_a_floor_is_proposed_as_a_calibration_would(nights: Path, tmp_path: Path, review: Review) -> None:
    folder = copy_of(nights, tmp_path)
    file = folder / "thresholds.yaml"
    text = file.read_text()
    assert text.count("max_drop: 0.1\n") == 1
    file.write_text(text.replace("max_drop: 0.1\n", "max_drop: 0.1\n      floor: 0.5\n"))
    _, said = review(folder)
    name, value, good, fails, *_, proposed = row(said, "boolq.floor")
    assert (name, value, good, fails) == ("boolq.floor", "0.5", "10", "0 (0%)")
    assert 0.85 < float(proposed) < 0.99
    assert "of the questions turn; floor" in said


def test_few_nights_propose_nothing(tmp_path: Path, review: Review) -> None:
    write_night(tmp_path, 0, likely=LIKELY)
    _, said = review(tmp_path)
    assert "no proposal: 1 good nights, 10 needed" in said
    assert "git apply" not in said


def test_no_run_is_told(tmp_path: Path, review: Review) -> None:
    shutil.copy(THRESHOLDS, tmp_path / "thresholds.yaml")
    code, said = review(tmp_path)
    assert code == 3
    assert "thresholds have no evidence before the first" in said
