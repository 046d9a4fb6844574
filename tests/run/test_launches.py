"""Commands that are begun before their arm is due, with servers that fail on demand."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.plan.plan import Arm, Plan
from harness.records.run_folder import RunFolder
from harness.run import launches, pipeline
from harness.run.display import Display
from harness.run.launches import Launches
from harness.run.setup import Ready, set_up
from harness.serve import guarded
from harness.serve.guarded import Begun

pytestmark = pytest.mark.usefixtures("no_sglang", "no_strays")
MakePlan = Callable[..., Plan]


def ready(plan: Plan, display: Display) -> Ready:
    Path(plan.folder).mkdir(parents=True)
    return set_up(plan, display)


def test_what_is_held_back_is_the_command_that_is_due_later(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan()
    with Launches(ready(plan, display)) as all_of_them:
        all_of_them.hold(plan.arm("compressed"))
        launch = all_of_them.begin(plan.arm("compressed"))
        assert launch.command.process.poll() is None
        assert not launch.command.go.exists()
        with launch.ending:
            pass
        assert launch.command.process.poll() == 0
    assert RunFolder(Path(plan.folder)).arm("compressed").path.exists()


def test_what_was_never_needed_is_ended_and_leaves_nothing(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan()
    with Launches(ready(plan, display)) as all_of_them:
        all_of_them.hold(plan.arm("compressed"))
        assert RunFolder(Path(plan.folder)).arm("compressed").path.exists()
    assert not RunFolder(Path(plan.folder)).arm("compressed").path.exists()


@pytest.mark.parametrize("other", [{"device": "npu"}, {"port": 20_001}])
def test_where_a_command_cannot_wait_it_is_not_begun(
    fake_plan: MakePlan, display: Display, other: dict[str, object]
) -> None:
    plan = fake_plan().model_copy(update=other)
    with Launches(ready(plan, display)) as all_of_them:
        all_of_them.hold(plan.arm("compressed"))
        assert not RunFolder(Path(plan.folder)).arm("compressed").path.exists()


def test_each_arm_of_a_run_is_begun_once_and_the_next_beside_the_first(
    fake_plan: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, bool]] = []

    def note(arm: Arm, log: Path, *, port: int | None, held: bool) -> AbstractContextManager[Begun]:
        begun.append((arm.name, held))
        return guarded.begun(arm, log, port=port, held=held)

    monkeypatch.setattr(launches, "begun", note)
    report = pipeline.run(fake_plan(), display)
    assert report.verdict == "PASS", report.reasons
    assert begun == [("baseline", False), ("compressed", True)]


def test_a_first_arm_that_breaks_ends_the_one_that_waits(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan("dies-at-once")
    report = pipeline.run(plan, display)
    assert report.verdict == "ERROR"
    assert "no such weights" in report.reasons[0]
    assert not RunFolder(Path(plan.folder)).arm("compressed").path.exists()
