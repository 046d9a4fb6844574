"""The arms of a run: servers started, asked everything, and what they say kept as it comes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.ask.questionnaire import Questionnaire
from harness.errors import HarnessError
from harness.judge.early_stop import certain, parts
from harness.judge.engagement import NOT_PROVEN, read_engagement
from harness.judge.error_budget import fail_levels
from harness.judge.live_check import NOT_RIGHT, read_live_check
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, Arm, Plan
from harness.records.run import ArmRecord, TaskRecord, read_record, write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.records.samples import read_samples
from harness.run.display import Display
from harness.run.setup import Ready
from harness.serve.client import RequestFailed
from harness.serve.server import Server, Start, running, server_settings
from harness.sglang_plugin.study_folder import write_policy
from harness.stats import ALPHA

PROOF_TIMEOUT_S = 5.0


@dataclass(kw_only=True)
class RunningArm:
    """An arm whose server is up.

    Attributes:
        name: The arm's name.
        server: Its server.
        folder: Its folder.
        record: How it ran so far.
    """

    name: str
    server: Server
    folder: ArmFolder
    record: ArmRecord

    def keep(self, **changed: object) -> None:
        """Add to the record, on disk too."""
        self.record = self.record.model_copy(update=changed)
        write_record(self.folder.record, self.record)


def groups(plan: Plan) -> list[list[Arm]]:
    """Return the arms whose servers are up at once, in the order they run."""
    arms = [arm for arm in plan.arms if arm.name != BASELINE or plan.reuse_baseline is None]
    if not plan.together:
        return [[arm] for arm in arms]
    return [arms[:2], *([arm] for arm in arms[2:])]


def run_arms(ready: Ready, arms: list[Arm], display: Display) -> None:
    """Start the servers of some arms once, ask them everything, and keep what they say.

    Raises:
        HarnessError: A server did not come up or did not last, by the arm's name.
        OSError: A file cannot be written.
    """
    with ExitStack() as stack:
        servers = [start(ready, arm, stack, display) for arm in arms]
        for questionnaire in ready.questionnaires:
            ask(ready, questionnaire, servers, display)


def start(ready: Ready, arm: Arm, stack: ExitStack, display: Display) -> RunningArm:
    """Start one arm's server, to be ended by `stack`, and have it prove that it compresses, or does not.

    Raises:
        HarnessError: It did not come up, or there is no proof.
    """
    plan, folder = ready.plan, ready.folder.arm(arm.name)
    folder.path.mkdir()
    if plan.policy is not None and arm.compressed:
        write_policy(folder.engagement, plan.policy_of(arm))
    how = Start(
        tp=plan.tp,
        known_answer=plan.known_answer,
        start_timeout_s=plan.start_timeout_s,
        request_timeout_s=plan.request_timeout_s,
        port=plan.port,
    )
    with blaming(arm.name):
        server = stack.enter_context(running(arm, how, folder.log, lambda text: display.say(f"{arm.name}: {text}")))
        display.say(f"{arm.name}: ready after {server.seconds_to_ready:.0f} s")
        record = ArmRecord(
            server_args=server_settings(server.client.server_info(), ready.sglang.settings),
            known_answer=server.known_answer,
            seconds_to_ready=server.seconds_to_ready,
        )
        running_arm = RunningArm(name=arm.name, server=server, folder=folder, record=record)
        running_arm.keep()
        check_engaged(plan, arm, folder)
    return running_arm


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Put the arm's name before what went wrong with it."""
    try:
        yield
    except (HarnessError, RequestFailed) as error:
        raise HarnessError(f"{arm}: {error}") from error


def check_engaged(plan: Plan, arm: Arm, folder: ArmFolder) -> None:
    """Do nothing if the known answer alone proves that the arm compresses, and rightly, or that it does not.

    A plugin that was not loaded or a sum that is wrong is found here, after a minute, rather than when all tasks
    are done.

    Raises:
        HarnessError: There is no proof.
    """
    deadline = time.monotonic() + PROOF_TIMEOUT_S
    while missing := _missing_proof(plan, arm, folder):
        # One rank may still be writing the line of a pass whose answer another rank has sent.
        if time.monotonic() > deadline:
            raise HarnessError(missing)
        time.sleep(0.1)


def _missing_proof(plan: Plan, arm: Arm, folder: ArmFolder) -> str:
    engagement = read_engagement(folder.engagement, tp=plan.tp, compressed=arm.compressed, policy=plan.policy_of(arm))
    live_check = read_live_check(folder.engagement, tp=plan.tp, every=arm.check_every)
    found = {NOT_PROVEN: engagement.faults, NOT_RIGHT: live_check.faults if live_check else []}
    return "\n".join(f"{what}: {'; '.join(faults)}" for what, faults in found.items() if faults)


def ask(ready: Ready, questionnaire: Questionnaire, servers: list[RunningArm], display: Display) -> None:
    """Ask the servers that are up, part by part; what they answer is on disk after each part.

    After a part of a task that may end early, the verdict is looked at; arms that follow ask no more than was
    asked then.
    """
    name, unit = questionnaire.name, questionnaire.unit
    task, fail_alpha = ready.plan.tasks.get(name), fail_levels(ready.plan).get(f"{name}.max_drop", ALPHA)
    text = f"{'+'.join(arm.name for arm in servers)}: {name}"
    seconds = {arm.name: 0.0 for arm in servers}
    for arm in servers:
        with blaming(arm.name):
            arm.server.client.flush_cache()
    # The baseline again is compared with what was asked of both arms, and no more.
    again = task is not None and servers[0].name == AGAIN
    questions = asked_before(ready.folder, name) if again else questionnaire.questions
    asked = 0
    with display.counting(text, questions * len(servers)) as advance:
        for part in parts(task, fail_alpha) if task else [range(questions)]:
            if part.start >= questions:
                break
            for arm in servers:
                clock = time.monotonic()
                with blaming(arm.name):
                    questionnaire.ask(
                        arm.server.client,
                        part,
                        folder=arm.folder,
                        after_failure=arm.server.check_alive,
                        advance=advance,
                    )
                seconds[arm.name] += time.monotonic() - clock
            asked = part.stop
            if task and asked < questions and COMPRESSED in seconds:
                baseline, compressed = (
                    read_samples(ready.folder.arm(arm).samples(name)) for arm in (BASELINE, COMPRESSED)
                )
                if certain(task, baseline, compressed, fail_alpha):
                    break
    for arm in servers:
        done = TaskRecord(
            seconds=seconds[arm.name],
            questions=asked,
            protocol=questionnaire.protocol(),
            protocol_text=questionnaire.protocol_text(),
        )
        arm.keep(tasks={**arm.record.tasks, name: done})
    early = f" of {questionnaire.questions}: the verdict was certain" if asked < questionnaire.questions else ""
    display.say(f"{text}: {asked} {unit}{early} in {sum(seconds.values()):.0f} s")


def asked_before(folder: RunFolder, task: str) -> int:
    """Return how many questions of a task the compressed arm was asked."""
    return read_record(folder.arm(COMPRESSED).record, ArmRecord).tasks[task].questions
