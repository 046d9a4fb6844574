"""What becomes of a study that is refused, or given up: no server is started here."""

from pathlib import Path

import pytest

from harness.config.suite import Deadlines
from harness.errors import HarnessError
from harness.plan.plan import Arm, FidelityPlan
from harness.plan.preflight import Sglang
from harness.records.run import BROKEN, RunRecord, read_record
from harness.records.run_folder import RunFolder
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.study import run, setup
from harness.study.plan import StudyPlan
from tests.study.plans import study_plan

SGLANG = Sglang(version="fake", settings=frozenset(), packages="none", plugin="f00")


@pytest.fixture
def plan(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPlan:
    monkeypatch.setattr(setup, "check_sglang", lambda *_, **__: SGLANG)
    monkeypatch.setattr("harness.study.store.cache", lambda: tmp_path / "cache")
    folder = tmp_path / "study"
    arm = Arm(name="ranks-2", compressed=False, argv=["sglang"], env={}, engagement=str(folder / "engagement"))
    changed = {"folder": str(folder), "data": str(tiny_data), "arms": [arm], "deadlines": Deadlines(run_s=5)}
    return study_plan().model_copy(update=changed)


class Late(Watch):
    """A watch whose run started some seconds ago."""

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self._started -= 6


def test_a_study_that_takes_too_long_is_given_up_and_says_so(
    plan: StudyPlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Watch", Late)
    with pytest.raises(HarnessError, match=r"has taken more than 5 s \(deadlines.run_s of the suite\)"):
        run.run_study(plan, display)
    record = read_record(RunFolder(Path(plan.folder)).run, RunRecord)
    assert record.state == BROKEN
    assert "more than 5 s" in record.errors[0]


def test_a_study_that_is_refused_leaves_no_folder(plan: StudyPlan, display: Display) -> None:
    many = FidelityPlan(texts={"boolq": 4000}, max_tokens=16, concurrency=1, threshold=None)
    with pytest.raises(HarnessError, match="4000 texts of boolq are asked for"):
        run.run_study(plan.model_copy(update={"texts": many}), display)
    assert not Path(plan.folder).exists()
