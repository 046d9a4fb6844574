"""The arms of a run: which are up at once, their servers started, and all of them asked."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from harness.errors import HarnessError
from harness.judge.run import differing_settings
from harness.plan.plan import BASELINE, Arm, Plan
from harness.records.run import ArmRecord, Traffic, read_record
from harness.records.time_spent import Span
from harness.run.asking import ask
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.launches import Launches
from harness.run.rank_logs import RankLogs
from harness.run.running_arm import RunningArm, blaming, check_engaged
from harness.run.setup import Ready
from harness.serve.server import Start, served, server_settings


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
        # While a server starts no answer is waited for: that has a time of its own.
        watch.begin()
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
