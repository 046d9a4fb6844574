"""The arms of a run: servers started, asked everything, and what they say kept as it comes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.ask.questionnaire import Questionnaire
from harness.errors import HarnessError
from harness.judge.alike import merge_like
from harness.judge.early_stop import certain, parts
from harness.judge.engagement import NOT_PROVEN, Engagement, prove
from harness.judge.error_budget import fail_levels
from harness.judge.live_check import NOT_CHECKED, NOT_RIGHT, read_live_check
from harness.judge.run import differing_settings
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, Arm, Plan
from harness.records.predictions import FIDELITY
from harness.records.run import ArmRecord, Checkpoint, TaskRecord, Traffic, read_record, write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.records.samples import NO_NUMBERS, read_samples
from harness.records.tail import Tail
from harness.records.time_spent import Span
from harness.run.checkpoint import batches, legs, share, sizes_on_disk
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.launches import Launches
from harness.run.rank_logs import RankLogs
from harness.run.setup import Ready
from harness.serve.answers import RequestFailed
from harness.serve.server import Server, Start, served, server_settings
from harness.stats import ALPHA

PROOF_TIMEOUT_S = 5.0


@dataclass(kw_only=True)
class RunningArm:
    """An arm whose server is up.

    Attributes:
        arm: What the plan says of it.
        server: Its server.
        folder: Its folder.
        record: How it ran so far.
        before: What an earlier server of it was asked, where the arm was resumed.
        logs: What its ranks have written.
    """

    arm: Arm
    server: Server
    folder: ArmFolder
    record: ArmRecord
    before: Traffic
    logs: RankLogs

    @property
    def traffic(self) -> Traffic:
        """What all its servers were asked."""
        return self.before + self.server.client.traffic

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


def run_arms(
    ready: Ready,
    launches: Launches,
    arms: list[Arm],
    display: Display,
    watch: Watch,
    *,
    before_end: Callable[[BaseException], None],
    then: Sequence[Arm] = (),
) -> None:
    """Start the servers of some arms once, ask them everything, and keep what they say.

    Args:
        ready: The run.
        launches: Begins their commands.
        arms: The arms; nothing is done where all of them were finished before the run was resumed.
        display: Where progress is shown.
        watch: When they are given up.
        before_end: Called with whatever went wrong while the servers are still up.
        then: The arm that is due when these are done, whose command may be begun beside theirs.

    Raises:
        HarnessError: A server did not come up or did not last, by the arm's name.
        OSError: A file cannot be written.
    """
    if all(is_finished(ready, arm) for arm in arms):
        display.say(f"{'+'.join(arm.name for arm in arms)}: was finished before")
        return
    with ExitStack() as stack:
        try:
            servers = [start(ready, launches, arm, stack, display, watch=watch, then=then) for arm in arms]
            for questionnaire in ready.questionnaires:
                ask(ready, questionnaire, servers, display, watch)
        except BaseException as error:
            before_end(error)
            raise


def is_finished(ready: Ready, arm: Arm) -> bool:
    """Return whether an arm was asked everything."""
    file = ready.folder.arm(arm.name).record
    names = {questionnaire.name for questionnaire in ready.questionnaires}
    return file.exists() and names <= read_record(file, ArmRecord).tasks.keys()


def start(
    ready: Ready,
    launches: Launches,
    arm: Arm,
    stack: ExitStack,
    display: Display,
    *,
    watch: Watch,
    then: Sequence[Arm],
) -> RunningArm:
    """Start one arm's server, to be ended by `stack`, and have it prove that it compresses, or does not.

    Raises:
        HarnessError: It did not come up, or there is no proof.
    """
    plan, folder = ready.plan, ready.folder.arm(arm.name)
    how = Start(
        tp=plan.tp,
        known_answer=plan.known_answer,
        start_timeout_s=plan.start_timeout_s,
        request_timeout_s=plan.request_timeout_s,
    )
    began = watch.elapsed
    with blaming(arm.name):
        watch.check()
        launch = launches.begin(arm)
        stack.enter_context(launch.ending)
        before = launch.before
        for later in then:
            if not is_finished(ready, later):
                with blaming(later.name):
                    launches.hold(later)
        server = stack.enter_context(
            served(launch.command, arm, how, folder.log, lambda text: display.say(f"{arm.name}: {text}"))
        )
        display.say(f"{arm.name}: ready after {server.seconds_to_ready:.0f} s")
        record = ArmRecord(
            server_args=server_settings(server.client.server_info(), ready.sglang.settings),
            known_answer=server.known_answer,
            seconds_to_ready=server.seconds_to_ready,
            starts=[*(before.starts if before else ()), Span(began=began, ended=began + server.seconds_to_ready)],
        )
        if before is not None:
            if differing := differing_settings(before.server_args, record.server_args):
                raise HarnessError(f"the server's {differing[0]} is not what it was before the run broke")
            known = before.known_answer and record.known_answer
            # That it was asked again belongs to the start, as a warm-up does: the arms must show the same traffic.
            server.client.traffic = Traffic()
            record = before.model_copy(update={"known_answer": known, "starts": record.starts})
        logs = RankLogs(folder, plan.tp)
        running_arm = RunningArm(
            arm=arm, server=server, folder=folder, record=record, before=record.traffic, logs=logs
        )
        running_arm.keep()
        check_engaged(plan, arm, folder, sglang=ready.sglang.version)
        logs.wait_until_quiet()
        engagement = check_engaged(plan, arm, folder, sglang=ready.sglang.version)
        traffic = running_arm.traffic
        own = engagement.ranks[0].prefill_tokens - (traffic.prompt - traffic.cached)
        running_arm.keep(own_prefill=own, traffic=traffic)
    return running_arm


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Put the arm's name before what went wrong with it."""
    try:
        yield
    except (HarnessError, RequestFailed) as error:
        raise HarnessError(f"{arm}: {error}") from error


def check_engaged(plan: Plan, arm: Arm, folder: ArmFolder, *, sglang: str) -> Engagement:
    """Return the proof, from the known answer alone, that the arm compresses, and rightly, or that it does not.

    A plugin that was not loaded or a sum that is wrong is found here, after a minute, rather than when all tasks
    are done.

    Raises:
        HarnessError: There is no proof.
    """
    deadline = time.monotonic() + PROOF_TIMEOUT_S
    while True:
        engagement = prove(plan, arm, folder.engagement, sglang=sglang)
        missing = _missing_proof(plan, arm, folder, engagement)
        if not missing:
            return engagement
        # One rank may still be writing the line of a pass whose answer another rank has sent.
        if time.monotonic() > deadline:
            raise HarnessError(missing)
        time.sleep(0.1)


def _missing_proof(plan: Plan, arm: Arm, folder: ArmFolder, engagement: Engagement) -> str:
    check = read_live_check(
        folder.engagement, engagement, tp=plan.tp, every=arm.check_every, policy=plan.policy_of(arm), sites=plan.sites
    )
    found = {
        NOT_RIGHT: check.wrong if check else [],
        NOT_PROVEN: engagement.faults,
        NOT_CHECKED: check.faults if check else [],
    }
    # What the ranks see alike is told once, what all of it has in common first, a line each.
    lines = {what: "\n  ".join(merge_like(faults)) for what, faults in found.items() if faults}
    return "\n".join(f"{what}: {told}" for what, told in lines.items())


def ask(
    ready: Ready, questionnaire: Questionnaire, servers: list[RunningArm], display: Display, watch: Watch
) -> None:
    """Ask the servers that are up, part by part and leg by leg; what they answer is on disk after each batch.

    After a part of a task that may end early, the verdict is looked at; arms that follow ask no more than was
    asked then. What was asked before the run was resumed is not asked again.
    """
    name, unit = questionnaire.name, questionnaire.unit
    if all(name in arm.record.tasks for arm in servers):
        return
    task, fail_alpha = ready.plan.tasks.get(name), fail_levels(ready.plan).get(f"{name}.max_drop", ALPHA)
    names = [arm.arm.name for arm in servers]
    text = f"{'+'.join(names)}: {name}"
    # The baseline again is compared with what was asked of both arms, and no more.
    again = task is not None and names[0] == AGAIN
    questions = asked_before(ready.folder, name) if again else questionnaire.questions
    asked = 0
    watch.begin()
    with display.counting(text, questions * len(servers)) as advance:
        for part in parts(task, fail_alpha) if task else [range(questions)]:
            if part.start >= questions:
                break
            for arm in servers:
                for leg in share(legs(part, questionnaire.concurrency), ready.plan.shard):
                    ask_leg(questionnaire, arm, leg, advance=advance, watch=watch)
            asked = part.stop
            if task and asked < questions and COMPRESSED in names:
                baseline, compressed = (
                    read_samples(ready.folder.arm(arm).samples(name)) for arm in (BASELINE, COMPRESSED)
                )
                if certain(task, baseline, compressed, fail_alpha):
                    break
    for arm in servers:
        with blaming(arm.arm.name):
            # What is certain to be an ERROR need not run to its end.
            check_engaged(ready.plan, arm.arm, arm.folder, sglang=ready.sglang.version)
        done = TaskRecord(
            seconds=arm.record.seconds(name),
            questions=asked,
            protocol=questionnaire.protocol(),
            protocol_text=questionnaire.protocol_text(),
            spent=arm.record.spent(name),
        )
        arm.keep(tasks={**arm.record.tasks, name: done})
    early = f" of {questionnaire.questions}: the verdict was certain" if asked < questionnaire.questions else ""
    seconds = sum(arm.record.seconds(name) for arm in servers)
    shard = ready.plan.shard
    part_of = f" (of which this is part {shard.number + 1} of {shard.of})" if shard else ""
    display.say(f"{text}: {asked} {unit}{early}{part_of} in {seconds:.0f} s")


def flush(server: Server) -> None:
    """Empty a server's prefix cache.

    Raises:
        HarnessError: The server is gone: its own last words are the cause.
        RequestFailed: It is there, and did not do it.
    """
    try:
        server.client.flush_cache()
    except RequestFailed:
        server.check_alive()
        raise


def ask_leg(
    questionnaire: Questionnaire,
    arm: RunningArm,
    leg: range,
    *,
    advance: Callable[[], None],
    watch: Watch,
) -> None:
    """Ask one arm a leg of a questionnaire, unless that was done before, and keep how far it got.

    Raises:
        HarnessError: The server is gone, or is given up.
        OSError: The answers cannot be written.
    """
    name = questionnaire.name
    if leg.stop <= arm.record.asked(name):
        for _question in leg:
            advance()
        return
    began, waited, passes = watch.elapsed, arm.server.client.waiting.seconds, arm.logs.passes
    failed: list[None] = []
    with blaming(arm.arm.name):
        flush(arm.server)
        for batch in batches(leg, questionnaire.concurrency):
            watch.check()
            arm.server.check_process()
            failed.clear()
            answers = new_answers(arm.folder, name)
            questionnaire.ask(
                arm.server.client,
                batch,
                folder=arm.folder,
                after_failure=lambda: failed.append(None),
                advance=advance,
            )
            errors = [answer["error"] for answer in answers.read()] if failed else [None]
            if failed:
                arm.server.check_alive()
            # An answer without numbers is one too: it says something of the model.
            if any(error is None or error.startswith(NO_NUMBERS) for error in errors):
                watch.answered()
            else:
                watch.failed(str(errors[-1]))
    if watch.failing:
        # These may be the first of the failures that end the run: one that goes on asks them again.
        return
    asked = Span(began=began, ended=watch.elapsed)
    traffic = arm.traffic
    arm.logs.wait_for((arm.record.own_prefill or 0) + traffic.prompt - traffic.cached)
    sizes = sizes_on_disk(arm.folder)
    spent, computed = arm.record.spent(name), arm.logs.passes
    if spent is not None:
        spent = spent.with_leg(
            asked,
            waited=arm.server.client.waiting.seconds - waited,
            passes=None if computed is None or passes is None else computed - passes,
            started=arm.record.starts[-1].began,
        )
    seconds = arm.record.seconds(name) + asked.seconds
    checkpoint = Checkpoint(task=name, questions=leg.stop, seconds=seconds, sizes=sizes, spent=spent)
    arm.keep(checkpoint=checkpoint, traffic=traffic)


def new_answers(folder: ArmFolder, task: str) -> Tail:
    """Return what will be added to a task's answers from here on: a line for each question, or more."""
    tail = Tail(folder.predictions if task == FIDELITY else folder.samples(task))
    tail.skip()
    return tail


def asked_before(folder: RunFolder, task: str) -> int:
    """Return how many questions of a task the compressed arm was asked."""
    return read_record(folder.arm(COMPRESSED).record, ArmRecord).tasks[task].questions
