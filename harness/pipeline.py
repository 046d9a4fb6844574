"""The whole run, as one sentence: config, plan, server arm, evaluation, samples, verdict, report."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from harness import records
from harness.calibration import CalibrationReport
from harness.client import RequestFailed
from harness.engagement import NOT_PROVEN, read_engagement
from harness.errors import HarnessError
from harness.evaluate import Task
from harness.fidelity.measure import predict_texts, protocol, protocol_text
from harness.fidelity.records import FIDELITY, fidelity_file
from harness.fidelity.texts import build_texts
from harness.fingerprint import adopt_baseline, make_fingerprint
from harness.live_check import NOT_RIGHT, read_live_check
from harness.plan import AGAIN, BASELINE, COMPRESSED, Arm, Plan
from harness.preflight import Sglang, check_sglang
from harness.progress import Display
from harness.records import ArmRecord, RunRecord, TaskRecord
from harness.report.build import build_report
from harness.report.calibration import write_calibration
from harness.report.model import Report
from harness.report.write import write_report
from harness.samples import Sample, read_samples, sample_file, write_samples
from harness.server import Server, running
from harness.stopping import certain, parts
from harness.versions import harness_versions

ResultT = TypeVar("ResultT")
PROOF_TIMEOUT_S = 5.0


def run(plan: Plan, display: Display) -> Report:
    """Do what the plan says and report on it; arguments and errors as for `measure`."""
    return measure(plan, display, report_on)


def calibrate(plan: Plan, display: Display) -> CalibrationReport:
    """Do what the plan, one of baselines alone, says, and propose thresholds; as for `measure`."""
    return measure(plan, display, write_calibration)


def report_on(folder: Path) -> Report:
    """Build a run's report from its files and write it."""
    report = build_report(folder)
    write_report(report, folder)
    return report


def measure(plan: Plan, display: Display, conclude: Callable[[Path], ResultT]) -> ResultT:
    """Do what the plan says and draw the conclusion.

    Whatever goes wrong once a server was started ends in a conclusion that says so, and what was measured
    stays on disk.

    Args:
        plan: The plan.
        display: Where progress is shown.
        conclude: Called with the run's folder once everything is on disk.

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
        check_tasks(tasks)
        fingerprint = make_fingerprint(plan, tasks, sglang)
        records.write(folder / records.FINGERPRINT, fingerprint)
        if plan.reuse_baseline is not None:
            adopt_baseline(plan, Path(plan.reuse_baseline), fingerprint)
            display.say(f"baseline: taken from {plan.reuse_baseline}")
    except OSError as error:
        raise HarnessError(f"{folder} cannot be written: {error}") from error
    try:
        for arms in groups(plan):
            run_arms(plan, arms, tasks, sglang, display)
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
            result = conclude(folder)
        except OSError as error:
            raise HarnessError(f"the report cannot be written to {folder}: {error}") from error
    return result


@dataclass(kw_only=True)
class Up:
    """An arm whose server is up.

    Attributes:
        arm: The arm.
        server: Its server.
        folder: Its folder.
        record: How it ran so far.
    """

    arm: Arm
    server: Server
    folder: Path
    record: ArmRecord

    def keep(self, **changed: object) -> None:
        """Add to the record, on disk too."""
        self.record = self.record.model_copy(update=changed)
        records.write(self.folder / records.ARM, self.record)


def groups(plan: Plan) -> list[list[Arm]]:
    """Return the arms whose servers are up at once, in the order they run."""
    arms = [arm for arm in plan.arms if arm.name != BASELINE or plan.reuse_baseline is None]
    if not plan.together:
        return [[arm] for arm in arms]
    return [arms[:2], *([arm] for arm in arms[2:])]


def run_arms(plan: Plan, arms: list[Arm], tasks: list[Task], sglang: Sglang, display: Display) -> None:
    """Start the servers of some arms once, run all tasks and texts on them, and keep everything they say.

    Raises:
        HarnessError: A server did not come up or did not last, by the arm's name.
        OSError: A file cannot be written.
    """
    with ExitStack() as stack:
        up = [start(plan, arm, sglang, stack, display) for arm in arms]
        for task in tasks:
            run_task(plan, task, up, display)
        for of in up:
            run_fidelity(plan, of, display)


def start(plan: Plan, arm: Arm, sglang: Sglang, stack: ExitStack, display: Display) -> Up:
    """Start one arm's server, to be ended by `stack`, and have it prove that it compresses, or does not.

    Raises:
        HarnessError: It did not come up, or there is no proof.
    """
    folder = Path(plan.folder) / arm.name
    folder.mkdir()
    with blaming(arm):
        server = stack.enter_context(running(plan, arm, folder, lambda text: display.say(f"{arm.name}: {text}")))
        display.say(f"{arm.name}: ready after {server.seconds_to_ready:.0f} s")
        record = ArmRecord(
            server_args=records.settings(server.client.server_info(), sglang.settings),
            known_answer=server.known_answer,
            seconds_to_ready=server.seconds_to_ready,
        )
        up = Up(arm=arm, server=server, folder=folder, record=record)
        up.keep()
        check_engaged(plan, arm)
    return up


@contextmanager
def blaming(arm: Arm) -> Iterator[None]:
    """Put the arm's name before what went wrong with it."""
    try:
        yield
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


def run_task(plan: Plan, task: Task, up: list[Up], display: Display) -> None:
    """Run one task on the servers that are up, part by part, and write its samples after each part.

    After a part of a task that may end early, the verdict is looked at; arms that follow ask no more than was
    asked then.
    """
    text = f"{'+'.join(of.arm.name for of in up)}: {task.name}"
    folder = Path(plan.folder)
    samples: dict[str, list[Sample]] = {of.arm.name: [] for of in up}
    seconds = dict.fromkeys(samples, 0.0)
    asked = 0
    for of in up:
        with blaming(of.arm):
            of.server.client.flush_cache()
    # The baseline again is compared with what was asked of both arms, and no more.
    questions = asked_before(plan, task.name) if up[0].arm.name == AGAIN else task.plan.questions
    with display.counting(text, questions * len(up)) as advance:
        for documents in parts(task.plan):
            if documents.start >= questions:
                break
            for of in up:
                clock = time.monotonic()
                with blaming(of.arm):
                    samples[of.arm.name] += task.run(
                        of.server.client,
                        record=of.folder / records.REQUESTS,
                        after_failure=of.server.check_alive,
                        advance=advance,
                        documents=documents,
                    )
                seconds[of.arm.name] += time.monotonic() - clock
                write_samples(sample_file(of.folder, task.name), samples[of.arm.name])
            asked = documents.stop
            if COMPRESSED in samples and asked < questions:
                baseline = samples.get(BASELINE) or read_samples(sample_file(folder / BASELINE, task.name))
                if certain(task.plan, baseline, samples[COMPRESSED]):
                    break
    for of in up:
        done = TaskRecord(
            seconds=seconds[of.arm.name],
            questions=asked,
            protocol=task.protocol(),
            protocol_text=task.protocol_text(),
        )
        of.keep(tasks={**of.record.tasks, task.name: done})
    early = f" of {task.plan.questions}: the verdict was certain" if asked < task.plan.questions else ""
    display.say(f"{text}: {asked} questions{early} in {sum(seconds.values()):.0f} s")


def run_fidelity(plan: Plan, up: Up, display: Display) -> None:
    """Have one server predict the fixed texts, where the plan has any."""
    if plan.fidelity is None:
        return
    texts = build_texts(Path(plan.data), plan.fidelity.texts)
    text = f"{up.arm.name}: {FIDELITY}"
    clock = time.monotonic()
    with blaming(up.arm), display.counting(text, len(texts)) as advance:
        up.server.client.flush_cache()
        predict_texts(
            texts,
            up.server.client,
            plan.fidelity,
            file=fidelity_file(up.folder),
            after_failure=up.server.check_alive,
            advance=advance,
        )
    done = TaskRecord(
        seconds=time.monotonic() - clock,
        questions=len(texts),
        protocol=protocol(plan.fidelity),
        protocol_text=protocol_text(plan.fidelity),
    )
    up.keep(tasks={**up.record.tasks, FIDELITY: done})
    display.say(f"{text}: {len(texts)} texts in {done.seconds:.0f} s")


def asked_before(plan: Plan, task: str) -> int:
    """Return how many questions of a task the compressed arm was asked."""
    record = records.read(Path(plan.folder) / COMPRESSED / records.ARM, ArmRecord)
    return record.tasks[task].questions


def check_tasks(tasks: list[Task]) -> None:
    """Do nothing if every task has the metric and filter, and the protocol, that its threshold names.

    Raises:
        HarnessError: Some do not; all at once.
    """
    wrong = [
        f"thresholds.yaml: {task.name}: metric {task.plan.threshold.metric!r} is none of the task's: "
        f"{'; '.join(task.metric_and_filter)}"
        for task in tasks
        if task.plan.threshold.metric not in task.metric_and_filter
    ]
    wrong += [
        f"thresholds.yaml: {task.name}: the numbers hold for another protocol than the run's\n"
        f"  threshold: {task.plan.threshold.protocol}\n"
        f"  run:       {task.protocol_text()}\n"
        "  run the threshold's protocol, or calibrate the threshold for this one (nox -s calibrate)"
        for task in tasks
        if task.plan.threshold.protocol not in (None, task.protocol_text())
    ]
    if wrong:
        raise HarnessError("\n".join(wrong))
