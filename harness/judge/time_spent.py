"""Where a run's time went: what each arm's start and tasks took, of what, and at how many tokens a second."""

from pydantic import Field

from harness.plan.plan import BASELINE, COMPRESSED, Plan
from harness.records.run import ArmRecord, RunRecord
from harness.records.time_spent import Span, Spent
from harness.strict import Strict

# What the seconds of a task are divided into, in this order.
PARTS = ("prefill", "decode", "server", "client")


class TaskTime(Strict):
    """What one task took in one arm. The parts that are known add up to its seconds, but for rounding.

    Attributes:
        questions: How many were asked.
        seconds: How long it took.
        prefill: Seconds of the forward passes over prompts; None where that was not recorded, and on accelerators,
            where the host's time of a pass is not the device's.
        decode: The same of the passes that generate.
        server: What else was waited for the server, in seconds: its tokenizing, scheduling and sampling, the way
            there and back; on accelerators all of its time. None where that was not recorded.
        client: Seconds of the harness itself, with no request under way: prompts, scores, files.
        prefill_tokens: Tokens of the passes over prompts; None where that was not recorded.
        decode_tokens: Tokens of the passes that generate, one a pass for each answer under way.
        prefill_rate: Tokens a second: of prefill's seconds, or on accelerators of all that was waited for the server.
        decode_rate: The same of the passes that generate.
        spans: When it was asked, on the run's clock: a span for each time that the server was started.
    """

    questions: int
    seconds: float
    prefill: float | None = None
    decode: float | None = None
    server: float | None = None
    client: float | None = None
    prefill_tokens: int | None = None
    decode_tokens: int | None = None
    prefill_rate: float | None = None
    decode_rate: float | None = None
    spans: list[Span] = Field(default_factory=list)


class ArmTime(Strict):
    """What one arm took.

    Attributes:
        start: Seconds from its server's start to the known answer, of all starts where the arm was resumed.
        starts: When these were, on the run's clock; none where that was not recorded.
        tasks: Its tasks, the fixed texts among them; one that it did not finish as far as it was kept.
        of_this_run: Whether it ran in this run: a stored baseline took its time in another.
    """

    start: float
    starts: list[Span]
    tasks: dict[str, TaskTime]
    of_this_run: bool

    @property
    def asked(self) -> float:
        """Seconds of all tasks."""
        return sum(task.seconds for task in self.tasks.values())


class Slower(Strict):
    """The compressed arm's time beside the baseline's, over the tasks in which both were asked as much.

    Attributes:
        tasks: These tasks.
        baseline: The baseline's seconds.
        compressed: The compressed arm's.
        ratio: The latter by the former.
        task: Where the largest part of the difference is: the task.
        part: And what of it: one of `PARTS`, or `seconds` where they were not recorded.
        difference: That part's seconds, compressed less baseline.
    """

    tasks: list[str]
    baseline: float
    compressed: float
    ratio: float
    task: str
    part: str
    difference: float


class TimeSpent(Strict):
    """Where a run's time went.

    Attributes:
        seconds: The whole run; of one that was cut off, as much as its arms tell.
        rest: What of it was neither a start nor a task: servers ending, logs waited for, proofs, reports; and what
            was asked in vain before a run broke.
        on_device: Whether forward passes run on a device that the host does not wait for: nothing is divided by them.
        arms: The arms that left a record.
        slower: The arms beside each other; None where there are not two that were asked the same.
    """

    seconds: float
    rest: float
    on_device: bool
    arms: dict[str, ArmTime]
    slower: Slower | None


def time_spent(plan: Plan, run: RunRecord, arm_records: dict[str, ArmRecord | None]) -> TimeSpent:
    """Return where a run's time went, as far as its records tell.

    Args:
        plan: The run's plan.
        run: How it went as a whole.
        arm_records: How each arm ran, None for one that never came up.
    """
    on_device = plan.device != "cpu"
    arms = {
        name: _arm_time(record, on_device=on_device, of_this_run=name != BASELINE or plan.reuse_baseline is None)
        for name, record in arm_records.items()
        if record is not None
    }
    here = [arm for arm in arms.values() if arm.of_this_run]
    measured = sum(arm.start + arm.asked for arm in here)
    ends = [span.ended for arm in here for span in _spans(arm)]
    seconds = max(run.seconds, measured, *ends)
    return TimeSpent(
        seconds=_rounded(seconds),
        rest=_rounded(seconds - measured),
        on_device=on_device,
        arms=arms,
        slower=_slower(arms[BASELINE], arms[COMPRESSED]) if {BASELINE, COMPRESSED} <= arms.keys() else None,
    )


def _spans(arm: ArmTime) -> list[Span]:
    return [*arm.starts, *(span for task in arm.tasks.values() for span in task.spans)]


def _arm_time(record: ArmRecord, *, on_device: bool, of_this_run: bool) -> ArmTime:
    tasks = {
        name: _task_time(done.questions, done.seconds, done.spent, on_device=on_device)
        for name, done in record.tasks.items()
    }
    broken = record.checkpoint
    if broken is not None and broken.task not in tasks:
        tasks[broken.task] = _task_time(broken.questions, broken.seconds, broken.spent, on_device=on_device)
    start = sum(span.seconds for span in record.starts) if record.starts else record.seconds_to_ready
    return ArmTime(start=_rounded(start), starts=record.starts, tasks=tasks, of_this_run=of_this_run)


def _task_time(questions: int, seconds: float, spent: Spent | None, *, on_device: bool) -> TaskTime:
    if spent is None:
        return TaskTime(questions=questions, seconds=_rounded(seconds))
    waited, passes = min(spent.waited, seconds), spent.passes
    divided = passes is not None and not on_device
    # A pass may end after the answer that it was for: the parts are cut to what they are parts of.
    prefill = min(passes.prefill_seconds, seconds) if divided and passes else 0.0
    decode = min(passes.decode_seconds, seconds - prefill) if divided and passes else 0.0
    server = max(waited - prefill - decode, 0.0)
    return TaskTime(
        questions=questions,
        seconds=_rounded(seconds),
        prefill=_rounded(prefill) if divided else None,
        decode=_rounded(decode) if divided else None,
        server=_rounded(server),
        client=_rounded(seconds - prefill - decode - server),
        prefill_tokens=passes.prefill_tokens if passes else None,
        decode_tokens=passes.decode_tokens if passes else None,
        prefill_rate=_rate(passes.prefill_tokens, passes.prefill_seconds if divided else waited) if passes else None,
        decode_rate=_rate(passes.decode_tokens, passes.decode_seconds if divided else waited) if passes else None,
        spans=spent.spans,
    )


def _rate(tokens: int, seconds: float) -> float | None:
    return round(tokens / seconds, 1) if tokens and seconds > 0 else None


def _slower(baseline: ArmTime, compressed: ArmTime) -> Slower | None:
    both = [
        name
        for name, task in baseline.tasks.items()
        if name in compressed.tasks and compressed.tasks[name].questions == task.questions
    ]
    seconds, other = (sum(arm.tasks[name].seconds for name in both) for arm in (baseline, compressed))
    if seconds <= 0:
        return None
    found = [
        (difference, name, part)
        for name in both
        for part, difference in _differences(baseline.tasks[name], compressed.tasks[name]).items()
    ]
    difference, task, part = max(found) if other >= seconds else min(found)
    return Slower(
        tasks=both,
        baseline=_rounded(seconds),
        compressed=_rounded(other),
        ratio=round(other / seconds, 3),
        task=task,
        part=part,
        difference=_rounded(difference),
    )


def _differences(baseline: TaskTime, compressed: TaskTime) -> dict[str, float]:
    """Return how many seconds longer each part is in the compressed arm; where none is known of both, the whole."""
    parts = {part: (getattr(baseline, part), getattr(compressed, part)) for part in PARTS}
    known = {part: other - one for part, (one, other) in parts.items() if one is not None and other is not None}
    return known or {"seconds": compressed.seconds - baseline.seconds}


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
