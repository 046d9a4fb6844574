"""Runs that break, in real processes, and go on: what is kept, what is said, and what the report says at the end."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.records.run import CUT_OFF, RunRecord, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from harness.report.build import build_report
from harness.report.model import Report
from harness.run import arms, asking, pipeline
from harness.run.display import Display
from harness.run.journal import plan_to_resume
from harness.serve.guarded import end, end_left_behind
from tests.support import run_folder, write_model

pytestmark = pytest.mark.usefixtures("no_sglang", "no_strays")
MakePlan = Callable[..., Plan]
# The harness itself, but for the question to an SGLang that the fake server is not.
COMMAND = """
import sys
from harness.cli.main import main
from harness.plan.preflight import Sglang
from harness.run import setup
settings = frozenset({"enable_quant_communications", "tp_size", "api_key", "dtype"})
setup.check_plan = lambda _plan: Sglang(version="fake", settings=settings, packages="none", plugin="f00")
sys.argv = ["harness", "accuracy", "--resume", sys.argv[1]]
sys.exit(main())
"""


@pytest.fixture
def make(fake_plan: MakePlan, tmp_path: Path) -> MakePlan:
    """Make a plan whose model has a hash, with a task of several legs; `name` is the run's folder."""

    def make_run(name: str = "run", *modes: str, questions: int = 40) -> Plan:
        plan = fake_plan(*modes)
        boolq = plan.tasks["boolq"].model_copy(update={"questions": questions})
        folder = str(Path(plan.folder).with_name(name))
        moved = [
            arm.model_copy(
                update={
                    "engagement": f"{folder}/{arm.name}/engagement",
                    "env": {**arm.env, "HARNESS_PLUGIN_DIR": f"{folder}/{arm.name}/engagement"},
                }
            )
            for arm in plan.arms
        ]
        if not (tmp_path / "model").exists():
            write_model(tmp_path / "model")
        changed = {"folder": folder, "arms": moved, "tasks": {**plan.tasks, "boolq": boolq}}
        return plan.model_copy(update={**changed, "model_path": str(tmp_path / "model")})

    return make_run


def measured(folder: Path) -> dict[str, bytes]:
    """Return every file of answers that a run left."""
    names = ("samples-boolq.jsonl", "samples-gsm8k.jsonl", "fidelity.jsonl")
    return {
        f"{arm}/{name}": (folder / arm / name).read_bytes() for arm in ("baseline", "compressed") for name in names
    }


def same(one: Report, other: Report) -> bool:
    """Return whether two reports say the same of what was measured and proven."""
    return (one.verdict, one.reasons, one.warnings, one.tasks, one.fidelity) == (
        other.verdict,
        other.reasons,
        other.warnings,
        {name: task.model_copy(update=times(one, name)) for name, task in other.tasks.items()},
        other.fidelity,
    )


def times(report: Report, task: str) -> dict[str, object]:
    """Return what no two runs share: the seconds that a task took."""
    return {name: getattr(report.tasks[task], name) for name in ("baseline", "compressed")}


def started(plan: Plan) -> subprocess.Popen[str]:
    """Start the harness on a plan as on a run that was killed as soon as it began."""
    folder = run_folder(plan)
    folder.path.mkdir(parents=True)
    write_record(folder.plan, plan)
    write_record(folder.run, RunRecord(started="then", seconds=0, errors=[], versions={}, state="running"))
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, plan.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def lines(file: Path) -> int:
    return file.read_text().count("\n") if file.exists() else 0


def wait_for(process: subprocess.Popen[str], file: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while lines(file) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("arm", ["baseline", "compressed"])
def test_a_run_whose_server_died_goes_on_to_the_report_of_an_unbroken_one(
    make: MakePlan, display: Display, arm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = make("unbroken")
    expected = pipeline.run(unbroken, display)
    modes = {"baseline": ("dies-once", "good"), "compressed": ("good", "dies-once")}[arm]
    plan = make("run", *modes)
    broken = pipeline.run(plan, display)
    assert broken.verdict == "ERROR"
    assert broken.reasons[0].startswith(f"{arm}: the server ended with exit code 7")
    # One arm's certain ERROR is the run's: the next is not started.
    assert (run_folder(plan).arm("compressed").path.exists()) is (arm == "compressed")
    kept = read_samples(run_folder(plan).arm(arm).samples("boolq"))
    # One leg and a bit: of the bit nothing is lost, but it is asked again.
    assert len(kept) > 16
    capsys.readouterr()

    report = pipeline.run(plan_to_resume(Path(plan.folder)), display, resume=True)
    assert report.verdict == "PASS", report.reasons
    assert measured(Path(plan.folder)) == measured(Path(unbroken.folder))
    assert same(report, expected)
    assert any("resumed after it had ended: " in note and "exit code 7" in note for note in report.notes)
    said = capsys.readouterr().out
    assert ("baseline: was finished before" in said) is (arm == "compressed")
    assert build_report(run_folder(plan)) == report
    with pytest.raises(HarnessError, match="got to its end: there is nothing to resume"):
        plan_to_resume(Path(plan.folder))


@pytest.mark.parametrize(
    ("arm", "file", "count"),
    [
        ("baseline", "requests.jsonl", 1),
        pytest.param("baseline", "samples-boolq.jsonl", 18, marks=pytest.mark.campaign),
        ("baseline", "samples-gsm8k.jsonl", 4),
        pytest.param("compressed", "engagement/rank-0.jsonl", 2, marks=pytest.mark.campaign),
        ("compressed", "samples-boolq.jsonl", 40),
        pytest.param("compressed", "fidelity.jsonl", 3, marks=pytest.mark.campaign),
    ],
)
def test_a_killed_run_loses_no_finished_sample_and_goes_on(
    make: MakePlan, display: Display, arm: str, file: str, count: int
) -> None:
    plan, unbroken = make("run"), make("unbroken")
    process = started(plan)
    watched = Path(plan.folder) / arm / file
    wait_for(process, watched, count)
    process.kill()
    process.communicate()
    folder = run_folder(plan)
    assert (folder.path.parent / "latest").resolve() == folder.path
    report = build_report(folder)
    assert (report.verdict, report.exit_code, report.reasons[0]) == ("ERROR", 3, CUT_OFF)
    if file.startswith("samples-boolq"):
        assert len(read_samples(watched)) >= count
    resumed = pipeline.run(plan_to_resume(folder.path), display, resume=True)
    expected = pipeline.run(unbroken, display)
    assert same(resumed, expected)
    assert measured(folder.path) == measured(Path(unbroken.folder))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_a_report_and_the_command_that_goes_on(make: MakePlan, number: int) -> None:
    plan = make("run")
    process = started(plan)
    wait_for(process, Path(plan.folder) / "baseline" / "samples-boolq.jsonl", 4)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    folder = run_folder(plan)
    assert json.loads(folder.report.read_text())["reasons"][0] == "interrupted by the user"
    assert read_record(folder.run, RunRecord).state == "broken"
    assert said.splitlines()[-1].endswith(f"nox -s accuracy -- --resume {plan.folder}")


def test_the_report_is_there_before_the_servers_end(
    make: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who ends a job gives it some seconds; a server may take longer."""
    plan, seen = make("run"), list[bool]()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(arms, "ask", interrupted)
    monkeypatch.setattr("harness.serve.guarded.end", noting(seen, run_folder(plan).report))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(plan, display)
    # The baseline's, and that of the arm that waits.
    assert seen == [True, True]


def noting(seen: list[bool], file: Path) -> Callable[[subprocess.Popen[bytes]], None]:
    """Return what ends a server and notes whether a file was there by then."""

    def end_it(process: subprocess.Popen[bytes]) -> None:
        seen.append(file.exists())
        end(process)

    return end_it


def test_an_unforeseen_failure_is_recorded_before_it_is_raised(
    make: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    plan = make("run")
    monkeypatch.setattr(arms, "ask", broken)
    with pytest.raises(ZeroDivisionError):
        pipeline.run(plan, display)
    record = read_record(run_folder(plan).run, RunRecord)
    assert record.state == "broken"
    assert record.errors[0].startswith("ZeroDivisionError: nobody thought of this (")
    assert build_report(run_folder(plan)).reasons[0] == record.errors[0]


def test_what_is_refused_leaves_no_folder_and_no_latest(make: MakePlan, display: Display) -> None:
    plan = make("run", questions=4000)
    with pytest.raises(HarnessError, match="4000 questions are asked for"):
        pipeline.run(plan, display)
    assert not Path(plan.folder).parent.exists()


def test_a_run_whose_disk_was_full_goes_on_when_there_is_room(
    make: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, unbroken = make("run"), make("unbroken")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    original = asking.ask_leg
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limited(*arguments: object, **named: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
        try:
            original(*arguments, **named)  # type: ignore[arg-type]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        with monkeypatch.context() as patch:
            patch.setattr(asking, "ask_leg", limited)
            broken = pipeline.run(plan, display)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert broken.verdict == "ERROR"
    assert "cannot be written" in broken.reasons[0]
    assert not list(Path(plan.folder).rglob("*.partial"))
    resumed = pipeline.run(plan_to_resume(Path(plan.folder)), display, resume=True)
    assert same(resumed, pipeline.run(unbroken, display))
    assert measured(Path(plan.folder)) == measured(Path(unbroken.folder))


def test_a_run_does_not_go_on_where_something_else_would_run(
    make: MakePlan, display: Display, tmp_path: Path
) -> None:
    plan = make("run", "dies-once")
    pipeline.run(plan, display)
    weights = next((tmp_path / "model").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"0")
    before = run_folder(plan).run.read_bytes()
    said = rf"(?s)the run cannot go on.*weights {weights.name}:\n    then: .*\n    now: "
    with pytest.raises(HarnessError, match=said):
        pipeline.run(plan_to_resume(Path(plan.folder)), display, resume=True)
    # What ended it is still what ended it.
    assert run_folder(plan).run.read_bytes() == before


def test_a_run_that_has_not_ended_is_not_taken_up(make: MakePlan, display: Display) -> None:
    plan = make("run")
    process = started(plan)
    wait_for(process, Path(plan.folder) / "baseline" / "samples-boolq.jsonl", 1)
    with pytest.raises(HarnessError, match="has not ended: another process is at it"):
        pipeline.run(plan_to_resume(Path(plan.folder)), display, resume=True)
    process.kill()
    process.communicate()
    # The guard's turn.
    for arm in plan.arms:
        end_left_behind(arm)


def test_a_folder_that_was_moved_is_not_taken_up(make: MakePlan, display: Display) -> None:
    plan = make("run", "dies-once")
    pipeline.run(plan, display)
    moved = Path(plan.folder).rename(Path(plan.folder).with_name("moved"))
    with pytest.raises(HarnessError, match="move it back"):
        plan_to_resume(moved)
    # A report can be built of it all the same.
    assert build_report(RunFolder(moved)).verdict == "ERROR"


def test_a_file_that_lost_what_it_held_is_not_gone_on_with(make: MakePlan, display: Display) -> None:
    plan = make("run", "dies-once")
    pipeline.run(plan, display)
    os.truncate(run_folder(plan).arm("baseline").samples("boolq"), 10)
    report = pipeline.run(plan_to_resume(Path(plan.folder)), display, resume=True)
    assert "samples-boolq.jsonl lost what it held" in report.reasons[0]
