"""One arm alone, in real processes: it leaves what a whole run leaves of it, and says how it ended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.fleet.relocate import relocate
from harness.plan.plan import Plan
from harness.records.arm_end import DIED, DONE, ENDED, REFUSED, UNLIKE, ArmEnd
from harness.records.run import ArmRecord, Fingerprint, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.run import pipeline
from harness.run.display import Display
from harness.run.one_arm import run_arm
from tests.support import run_folder, write_model

pytestmark = pytest.mark.usefixtures("no_sglang", "no_strays")
MakePlan = Callable[..., Plan]


def alone(plan: Plan, folder: Path) -> Plan:
    """Give a plan a folder of its own, as the host of an arm does."""
    moved = relocate(plan, folder)
    folder.mkdir(parents=True)
    write_record(RunFolder(folder).plan, moved)
    return moved


def test_arms_run_one_by_one_leave_what_a_whole_run_leaves(
    fake_plan: MakePlan, tmp_path: Path, display: Display
) -> None:
    plan = fake_plan().model_copy(update={"model_path": str(write_model(tmp_path / "model"))})
    pipeline.run(plan, display)
    baseline = alone(plan, tmp_path / "there" / "baseline")
    assert run_arm(baseline, "baseline", display, before=0.0).outcome == DONE
    compressed = alone(plan, tmp_path / "there" / "compressed")
    shutil.copytree(Path(baseline.folder) / "baseline", Path(compressed.folder) / "baseline")
    shutil.copy2(RunFolder(Path(baseline.folder)).fingerprint, compressed.folder)
    end = run_arm(compressed, "compressed", display, before=100.0)
    assert (end.outcome, end.error) == (DONE, "")
    assert read_record(Path(compressed.folder) / ENDED, ArmEnd) == end
    for arm, folder in (("baseline", baseline.folder), ("compressed", compressed.folder)):
        whole, its = run_folder(plan).arm(arm), RunFolder(Path(folder)).arm(arm)
        names = {file.name for file in whole.path.glob("*.jsonl")}
        assert {file.name for file in its.path.glob("*.jsonl")} == names
        for name in (*sorted(name for name in names if name.startswith("samples-")), "fidelity.jsonl"):
            assert (its.path / name).read_bytes() == (whole.path / name).read_bytes()
    # On the run's own clock: after what came before.
    assert read_record(RunFolder(Path(compressed.folder)).arm("compressed").record, ArmRecord).starts[0].began >= 100


def test_a_server_that_died_may_be_started_again_and_a_wrong_one_not(
    fake_plan: MakePlan, tmp_path: Path, display: Display
) -> None:
    dies, refused = (
        fake_plan(mode).model_copy(update={"model_path": str(tmp_path / "model")})
        for mode in ("dies-in-task", "wrong-flag")
    )
    write_model(tmp_path / "model")
    end = run_arm(alone(dies, tmp_path / "one" / "run"), "baseline", display, before=0.0)
    assert end.outcome == DIED, end
    assert end.error.startswith("baseline: the server ended with exit code 7")
    end = run_arm(alone(refused, tmp_path / "two" / "run"), "baseline", display, before=0.0)
    assert end.outcome == REFUSED, end


def test_a_host_that_is_unlike_starts_no_server(fake_plan: MakePlan, tmp_path: Path, display: Display) -> None:
    plan = alone(fake_plan(), tmp_path / "run")
    folder = RunFolder(Path(plan.folder))
    write_record(folder.fingerprint, Fingerprint(facts={"machine": "another"}))
    end = run_arm(plan, "baseline", display, before=0.0)
    assert end.outcome == UNLIKE
    assert "then: another" in end.error
    assert not folder.arm("baseline").path.exists()
    assert json.loads((folder.path / ENDED).read_text())["outcome"] == UNLIKE
