"""Whole runs whose servers fail on demand: the verdict, the reason, and what stays on disk."""

import json
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.ask import lm_eval_task
from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.records.questions import read_prompts
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from harness.report.build import build_report
from harness.run import arms, asking, pipeline, running_arm
from harness.run.display import Display
from tests.support import run_folder

pytestmark = pytest.mark.usefixtures("no_sglang", "no_strays")
MakePlan = Callable[..., Plan]


def test_a_good_run_passes_and_its_report_is_built_again_from_its_files(
    fake_plan: MakePlan, display: Display, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = fake_plan()
    report = pipeline.run(plan, display)
    assert (report.verdict, report.exit_code) == ("PASS", 0), report.reasons
    assert build_report(run_folder(plan)) == report
    written = json.loads((Path(plan.folder) / "report.json").read_text())
    assert written["tasks"]["boolq"]["paired"]["both_right"] == 6
    assert written["tasks"]["gsm8k"]["verdict"] == "REPORTED"
    assert (Path(plan.folder).parent / "latest" / "report.html").exists()
    # What the servers were asked is kept once, in words.
    asked = read_prompts(run_folder(plan).questions("boolq"))
    assert len(asked) == 6
    assert all(prompt.endswith("Answer:") for prompt in asked.values())
    assert report.fidelity is not None
    assert (report.fidelity.verdict, report.fidelity.compressed.texts) == ("REPORTED", 9)
    assert [text for text in report.warnings if text.startswith("predictions of fixed text moved far: ")]
    assert report.time is not None
    assert report.time.rest >= 0
    for of_arm in report.time.arms.values():
        assert len(of_arm.starts) == 1
        for name, task in of_arm.tasks.items():
            assert task.prefill_tokens, name
            assert task.client is not None
            assert len(task.spans) == 1
    key = json.loads((Path(plan.folder) / "baseline" / "arm.json").read_text())["server_args"].get("api_key")
    assert key in (None, "<redacted>")
    assert stat.S_IMODE(Path(plan.folder).stat().st_mode) == 0o700
    said = capsys.readouterr().out
    assert "baseline: boolq: 6 questions in" in said
    assert "compressed: gsm8k: 6 questions in" in said
    assert "baseline: fidelity: 9 texts in" in said


def test_a_failed_request_makes_an_error(fake_plan: MakePlan, display: Display) -> None:
    report = pipeline.run(fake_plan(compressed="fails-some"), display)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert any("requests failed" in reason for reason in report.reasons)
    assert report.tasks["boolq"].compressed.failed > 0
    assert report.tasks["boolq"].baseline.failed == 0
    assert any(reason.startswith("fidelity: ") and "failed" in reason for reason in report.reasons)


def test_a_prompt_that_is_refused_fails_alone_in_both_arms(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan("refuses-one", "refuses-one")
    boolq = plan.tasks["boolq"].model_copy(update={"questions": 60})
    plan = plan.model_copy(update={"tasks": {"boolq": boolq}, "fidelity": None})
    report = pipeline.run(plan, display)
    for arm in ("baseline", "compressed"):
        samples = read_samples(run_folder(plan).arm(arm).samples("boolq"))
        (failed,) = [sample for sample in samples if sample.error]
        assert "HTTP 400" in str(failed.error)
        # Its neighbour in the request, and itself.
        traffic = report.arms[arm].traffic
        assert traffic is not None
        assert traffic.alone == 2
    assert not [text for text in report.warnings if "one by one" in text]


@pytest.mark.parametrize("arm", ["baseline", "compressed"])
@pytest.mark.parametrize(
    ("mode", "why"), [("stranger", "another server answered"), ("asked-by-others", "somebody else asked that server")]
)
def test_answers_that_the_ranks_logs_do_not_bear_out_are_an_error(
    fake_plan: MakePlan, display: Display, arm: str, mode: str, why: str
) -> None:
    report = pipeline.run(fake_plan(**{arm: mode}), display)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[0].startswith(f"compression is not proven: {arm} arm: ranks 0, 1 logged prefills of ")
    assert why in report.reasons[0]


def test_a_compressed_arm_without_numbers_fails_and_has_no_traceback(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan(compressed="no-number").model_copy(update={"fidelity": None})
    report = pipeline.run(plan, display)
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert report.reasons[0].startswith(
        "boolq: the compressed arm gives no numbers for 6 of 6 questions for which the"
    )


def test_a_text_that_is_null_is_no_wrong_answer(fake_plan: MakePlan, display: Display) -> None:
    report = pipeline.run(fake_plan(compressed="null-text"), display)
    assert report.verdict == "ERROR"
    assert "3 requests in a row failed, the last: the answer is malformed: text is None" in report.reasons[0]
    assert report.tasks["gsm8k"].compressed.accuracy is None


def test_a_server_that_dies_makes_an_error_and_keeps_the_other_arm(fake_plan: MakePlan, display: Display) -> None:
    plan = fake_plan(compressed="dies-in-task")
    report = pipeline.run(plan, display)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert any(reason.startswith("compressed: the server ended with exit code 7") for reason in report.reasons)
    folder = Path(plan.folder)
    assert (folder / "baseline" / "samples-boolq.jsonl").exists()
    assert (folder / "compressed" / "requests.jsonl").read_text()
    assert build_report(RunFolder(folder)) == report


def test_a_compressed_arm_that_lost_its_mind_fails(fake_plan: MakePlan, display: Display) -> None:
    report = pipeline.run(fake_plan(compressed="wrong-answer"), display)
    assert (report.verdict, report.exit_code) == ("FAIL", 1)
    assert "no longer continues 'The capital of France is'" in report.reasons[0]


def test_a_compressed_arm_without_proof_is_an_error_before_any_task_runs(
    fake_plan: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_arm, "PROOF_TIMEOUT_S", 0.3)
    plan = fake_plan()
    # Its plugin writes elsewhere: as good as no plugin.
    elsewhere = {**plan.arms[1].env, "HARNESS_PLUGIN_DIR": str(Path(plan.folder) / "nowhere")}
    lost = plan.arms[1].model_copy(update={"env": elsewhere})
    report = pipeline.run(plan.model_copy(update={"arms": [plan.arms[0], lost]}), display)
    assert report.verdict == "ERROR"
    assert any("compression is not proven: rank 0 left no proof" in reason for reason in report.reasons)
    assert not (Path(plan.folder) / "compressed" / "requests.jsonl").exists()


def test_a_full_disk_is_named_and_what_was_measured_stays(
    fake_plan: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fake_plan()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lm_eval_task, "write_samples", full)
    report = pipeline.run(plan, display)
    assert report.verdict == "ERROR"
    assert any("No space left on device" in reason and "disk full" in reason for reason in report.reasons)
    assert (Path(plan.folder) / "baseline" / "requests.jsonl").read_text()


def test_a_file_size_limit_while_requests_are_written_is_an_error(fake_plan: MakePlan, display: Display) -> None:
    """The kernel itself refuses to write here, in the middle of the run."""
    plan = fake_plan(questions=7)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal  # noqa: PLC0415

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        original = asking.ask

        def limited(*arguments: object) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
            try:
                original(*arguments)  # type: ignore[arg-type]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arms, "ask", limited)
            report = pipeline.run(plan, display)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert report.verdict == "ERROR"
    assert any("cannot be written" in reason for reason in report.reasons)
    assert (Path(plan.folder) / "baseline" / "requests.jsonl").stat().st_size > 0


def test_ctrl_c_ends_the_server_and_leaves_a_report(
    fake_plan: MakePlan, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fake_plan()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(arms, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(plan, display)
    report = build_report(run_folder(plan))
    assert report.verdict == "ERROR"
    assert report.reasons[0] == "interrupted by the user"


def test_a_threshold_made_for_another_protocol_is_refused_with_both_shown(
    fake_plan: MakePlan, display: Display
) -> None:
    plan = fake_plan()
    rows = {
        name: task.threshold.model_copy(update={"protocol": "gsm8k.yaml version 0.9; 8 shots"})
        for name, task in plan.tasks.items()
    }
    tasks = {name: task.model_copy(update={"threshold": rows[name]}) for name, task in plan.tasks.items()}
    with pytest.raises(HarnessError) as refused:
        pipeline.run(plan.model_copy(update={"tasks": tasks}), display)
    text = str(refused.value)
    assert text.count("  threshold: gsm8k.yaml version 0.9; 8 shots\n") == 2
    assert "  run:       gsm8k.yaml version 1.0; generate_until; 5 shots" in text
    assert not (Path(plan.folder) / "baseline").exists()


def with_arm(plan: Plan, name: str) -> Plan:
    """Return the plan with one more arm, a double of the baseline."""
    baseline = plan.arms[0]
    engagement = str(Path(plan.folder) / name / "engagement")
    env = {**baseline.env, "HARNESS_PLUGIN_DIR": engagement}
    again = baseline.model_copy(update={"name": name, "engagement": engagement, "env": env})
    return plan.model_copy(update={"arms": [*plan.arms, again]})


def early(plan: Plan, *, together: bool = False, **changed: object) -> Plan:
    """Return the plan with a boolq of 60 questions that may end early, alone."""
    row = plan.tasks["boolq"].threshold.model_copy(update={"floor": None, "max_drop": 0.25})
    task = plan.tasks["boolq"].model_copy(update={"early_stop": True, "questions": 60, "threshold": row, **changed})
    return plan.model_copy(update={"tasks": {"boolq": task}, "together": together})


def test_the_baseline_again_runs_last_and_is_compared(fake_plan: MakePlan, display: Display) -> None:
    report = pipeline.run(with_arm(fake_plan(), "baseline-again"), display)
    assert report.verdict == "PASS", report.reasons
    assert list(report.arms) == ["baseline", "compressed", "baseline-again"]
    for task in report.tasks.values():
        assert task.noise is not None
        assert (task.noise.answers_changed, task.noise.baseline_only) == (0, 0)


@pytest.mark.parametrize("together", [False, True])
def test_a_task_ends_when_its_verdict_is_certain(
    fake_plan: MakePlan, display: Display, capsys: pytest.CaptureFixture[str], *, together: bool
) -> None:
    plan = with_arm(early(fake_plan(), together=together), "baseline-again")
    report = pipeline.run(plan, display)
    assert report.verdict == "PASS", report.reasons
    task = report.tasks["boolq"]
    assert task.n == task.asked < task.planned == 60
    folder = Path(plan.folder)
    asked = {arm.name: len((folder / arm.name / "samples-boolq.jsonl").read_text().splitlines()) for arm in plan.arms}
    # Alone, the baseline is asked first, when nothing can be certain yet.
    assert asked == {
        "baseline": task.n if together else 60,
        "compressed": task.n,
        "baseline-again": task.n,
    }
    assert f"{task.n} questions of 60: the verdict was certain" in capsys.readouterr().out
    assert "looks" in report.reasons[0]
    assert build_report(RunFolder(folder)) == report


def test_a_task_cut_off_before_it_was_certain_is_an_error(fake_plan: MakePlan, display: Display) -> None:
    plan = early(fake_plan())
    n = pipeline.run(plan, display).tasks["boolq"].n
    folder = Path(plan.folder)
    for arm in ("baseline", "compressed"):
        file = folder / arm / "samples-boolq.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[: n - 1]))
    assert "1 of" in build_report(RunFolder(folder)).reasons[0]
    record = folder / "compressed" / "arm.json"
    record.write_text(record.read_text().replace(f'"questions": {n}', f'"questions": {n - 1}'))
    report = build_report(RunFolder(folder))
    assert report.verdict == "ERROR"
    assert f"ended after {n - 1} of 60 questions, though nothing was certain then" in report.reasons[0]


def test_a_threshold_that_names_no_metric_of_its_task_is_refused_before_any_server(
    fake_plan: MakePlan, display: Display
) -> None:
    plan = fake_plan()
    wrong = plan.tasks["boolq"].threshold.model_copy(update={"metric": "acc,strict"})
    tasks = {"boolq": plan.tasks["boolq"].model_copy(update={"threshold": wrong})}
    with pytest.raises(HarnessError, match=r"boolq: metric 'acc,strict' is none of the task's: acc,none"):
        pipeline.run(plan.model_copy(update={"tasks": tasks}), display)
    assert not (Path(plan.folder) / "baseline").exists()
