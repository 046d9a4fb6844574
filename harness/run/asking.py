"""Arms that are up, asked everything; what they answer is kept as it comes."""

from collections.abc import Callable

from harness.ask.questionnaire import Questionnaire
from harness.judge.early_stop import certain, parts
from harness.judge.error_budget import fail_levels
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED
from harness.records.predictions import FIDELITY
from harness.records.run import ArmRecord, Checkpoint, TaskRecord, read_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.records.samples import NO_NUMBERS, read_samples
from harness.records.tail import Tail
from harness.records.time_spent import Span
from harness.run.checkpoint import batches, legs, share, sizes_on_disk
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.running_arm import RunningArm, blaming, check_engaged
from harness.run.setup import Ready
from harness.serve.answers import RequestFailed
from harness.serve.server import Server
from harness.stats import ALPHA


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
    return Tail(folder.predictions if task == FIDELITY else folder.samples(task)).skip()


def asked_before(folder: RunFolder, task: str) -> int:
    """Return how many questions of a task the compressed arm was asked."""
    return read_record(folder.arm(COMPRESSED).record, ArmRecord).tasks[task].questions
