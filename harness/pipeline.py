"""The whole run, as one sentence: config, plan, server arm, evaluation, samples, verdict, report."""

import time
from datetime import UTC, datetime
from pathlib import Path

from harness import records
from harness.client import RequestFailed
from harness.engagement import NOT_PROVEN, read_engagement
from harness.errors import HarnessError
from harness.evaluate import Task
from harness.live_check import NOT_RIGHT, read_live_check
from harness.plan import Arm, Plan
from harness.preflight import Sglang, check_sglang
from harness.progress import Display
from harness.records import ArmRecord, RunRecord, TaskRecord
from harness.report.build import build_report
from harness.report.model import Report
from harness.report.write import write_report
from harness.samples import sample_file, write_samples
from harness.server import Server, running
from harness.versions import harness_versions

PROOF_TIMEOUT_S = 5.0


def run(plan: Plan, display: Display) -> Report:
    """Do what the plan says and report on it.

    Whatever goes wrong once a server was started ends in a report with the verdict ERROR, and what was
    measured stays on disk.

    Args:
        plan: The plan.
        display: Where progress is shown.

    Raises:
        HarnessError: The plan cannot be carried out at all; nothing was started.
        KeyboardInterrupt: The user stopped it; the report says so.
    """
    display.say(f"asking {plan.server_python} whether its SGLang takes the plan")
    sglang = check_sglang(plan)
    folder = Path(plan.folder)
    errors: list[str] = []
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        folder.mkdir(parents=True)
        records.write(folder / records.PLAN, plan)
        tasks = [Task(name, of, Path(plan.data), folder / records.TASKS) for name, of in plan.tasks.items()]
        check_metrics(tasks)
    except OSError as error:
        raise HarnessError(f"{folder} cannot be written: {error}") from error
    try:
        for arm in plan.arms:
            run_arm(plan, arm, tasks, sglang, display)
    except HarnessError as error:
        errors.append(str(error))
    except OSError as error:
        errors.append(f"a file cannot be written ({error}): is the disk full? What was measured before is kept")
    except KeyboardInterrupt:
        errors.append("interrupted by the user")
        raise
    finally:
        record = RunRecord(
            started=started.isoformat(timespec="seconds"),
            seconds=time.monotonic() - clock,
            errors=errors,
            versions=harness_versions(sglang.version),
        )
        try:
            records.write(folder / records.RUN, record)
            report = build_report(folder)
            write_report(report, folder)
        except OSError as error:
            raise HarnessError(f"the report cannot be written to {folder}: {error}") from error
    return report


def run_arm(plan: Plan, arm: Arm, tasks: list[Task], sglang: Sglang, display: Display) -> None:
    """Start one arm's server once, run all tasks on it, and keep everything it says.

    Raises:
        HarnessError: The server did not come up or did not last, by the arm's name.
        OSError: A file cannot be written.
    """
    folder = Path(plan.folder) / arm.name
    folder.mkdir()
    try:
        with running(plan, arm, folder, lambda text: display.say(f"{arm.name}: {text}")) as server:
            display.say(f"{arm.name}: ready after {server.seconds_to_ready:.0f} s")
            record = ArmRecord(
                server_args=records.settings(server.client.server_info(), sglang.settings),
                known_answer=server.known_answer,
                seconds_to_ready=server.seconds_to_ready,
            )
            records.write(folder / records.ARM, record)
            check_engaged(plan, arm)
            for task in tasks:
                done = run_task(task, server, folder, f"{arm.name}: {task.name}", display)
                record = record.model_copy(update={"tasks": {**record.tasks, task.name: done}})
                records.write(folder / records.ARM, record)
    except (HarnessError, RequestFailed) as error:
        raise HarnessError(f"{arm.name}: {error}") from error


def check_engaged(plan: Plan, arm: Arm) -> None:
    """Do nothing if the known answer alone proves that the arm compresses, and rightly, or that it does not.

    A plugin that was not loaded or a sum that is wrong is found here, after a minute, rather than when all tasks
    are done.

    Raises:
        HarnessError: There is no proof.
    """
    deadline = time.monotonic() + PROOF_TIMEOUT_S
    while missing := _missing_proof(plan, arm):
        # One rank may still be writing the line of a pass whose answer another rank has sent.
        if time.monotonic() > deadline:
            raise HarnessError(missing)
        time.sleep(0.1)


def _missing_proof(plan: Plan, arm: Arm) -> str:
    folder = Path(arm.engagement)
    engagement = read_engagement(folder, tp=plan.tp, compressed=arm.compressed)
    live_check = read_live_check(folder, tp=plan.tp, every=arm.check_every)
    found = {NOT_PROVEN: engagement.faults, NOT_RIGHT: live_check.faults if live_check else []}
    return "\n".join(f"{what}: {'; '.join(faults)}" for what, faults in found.items() if faults)


def run_task(task: Task, server: Server, folder: Path, text: str, display: Display) -> TaskRecord:
    """Run one task on one server and write its samples."""
    server.client.flush_cache()
    clock = time.monotonic()
    with display.counting(text, task.plan.questions) as advance:
        samples = task.run(
            server.client,
            record=folder / records.REQUESTS,
            after_failure=server.check_alive,
            advance=advance,
        )
    seconds = time.monotonic() - clock
    write_samples(sample_file(folder, task.name), samples)
    display.say(f"{text}: {task.plan.questions} questions in {seconds:.0f} s")
    return TaskRecord(seconds=seconds, protocol=task.protocol())


def check_metrics(tasks: list[Task]) -> None:
    """Do nothing if every task has the metric and filter that its threshold names.

    Raises:
        HarnessError: Some do not; all at once.
    """
    wrong = [
        f"thresholds.yaml: {task.name}: metric {task.plan.threshold.metric!r} is none of the task's: "
        f"{'; '.join(task.metric_and_filter)}"
        for task in tasks
        if task.plan.threshold.metric not in task.metric_and_filter
    ]
    if wrong:
        raise HarnessError("\n".join(wrong))
