"""Where the time went, in words and in a table: what report.md, the page and the terminal say of it."""

from dataclasses import dataclass

from harness.judge.results import ArmReport
from harness.judge.time_spent import ArmTime, Slower, TaskTime, TimeSpent
from harness.plan.plan import BASELINE, COMPRESSED

HEAD = ("seconds", "prefill", "decode", "other server time", "client", "prefill tokens/s", "decode tokens/s")
NAMES = {"server": "other server time", "seconds": "the time"}
START, RATIO, NONE = "start", "compressed / baseline", "-"
FIELDS = ("seconds", "prefill", "decode", "server", "client", "prefill_rate", "decode_rate")
RATES = frozenset({"prefill_rate", "decode_rate"})


@dataclass(frozen=True, kw_only=True)
class TimeRow:
    """A row of the table.

    Attributes:
        task: The task, or `start`.
        arm: The arm, or that the row is the ratio of two.
        cells: What stands below each name of `HEAD`.
    """

    task: str
    arm: str
    cells: tuple[str, ...]


def time_rows(time: TimeSpent) -> list[TimeRow]:
    """Return the table: of each task a row for each arm, then the compressed arm's by the baseline's."""
    starts: dict[str, dict[str, float | None]] = {name: {"seconds": arm.start} for name, arm in time.arms.items()}
    rows = _rows(START, starts, comparable=True)
    for name in dict.fromkeys(task for arm in time.arms.values() for task in arm.tasks):
        asked = {arm: found.tasks[name] for arm, found in time.arms.items() if name in found.tasks}
        # Ratios of tasks of which the arms were asked more and less would mislead.
        rows += _rows(
            name,
            {arm: _values(task) for arm, task in asked.items()},
            comparable=len({task.questions for arm, task in asked.items() if arm in (BASELINE, COMPRESSED)}) == 1,
        )
    return rows


def time_notes(time: TimeSpent, arms: dict[str, ArmReport]) -> list[str]:
    """Return what must be known to read the table, a sentence each."""
    notes = [f"Whole run {time.seconds:.1f} s, {time.rest:.1f} s of it in neither a start nor a task."]
    check = arms[COMPRESSED].live_check if COMPRESSED in arms else None
    if check is not None and check.seconds:
        notes.append(f"The live check, which the compressed arm alone has, took {check.seconds:.1f} s of its passes.")
    if time.on_device:
        notes.append(
            "The device computes while the host goes on, so that no pass's own time is known: all that was waited "
            "for the server is other server time, and tokens/s are by that."
        )
    missing = [
        f"{arm} {name}"
        for arm, found in time.arms.items()
        for name, task in found.tasks.items()
        if task.prefill_tokens is None
    ]
    if missing and not any(task.prefill_tokens for arm in time.arms.values() for task in arm.tasks.values()):
        notes.append("What the seconds went into was not recorded in this run.")
    elif missing:
        notes.append(f"Not recorded, or not whole, is what the seconds went into of: {', '.join(missing)}.")
    notes += [
        f"The {name}'s time is that of the run that it was taken from."
        for name, arm in time.arms.items()
        if not arm.of_this_run
    ]
    return notes


def time_summary(time: TimeSpent) -> str:
    """Return in a line how long the run and each arm took, and which arm was slower where."""
    arms = ", ".join(f"{name} {_arm(arm)}" for name, arm in time.arms.items())
    told = f"{time.seconds:.0f} s" + (f": {arms}" if arms else "")
    return f"{told}; without starts {_slower(time.slower)}" if time.slower is not None else told


def _arm(arm: ArmTime) -> str:
    return f"{arm.start + arm.asked:.0f} s (start {arm.start:.0f})"


def _slower(found: Slower) -> str:
    return (
        f"compressed {found.compressed:.1f} s, {found.ratio:.2f} times the baseline's {found.baseline:.1f} s, the "
        f"largest difference in {NAMES.get(found.part, found.part)} of {found.task} ({found.difference:+.1f} s)"
    )


def _values(task: TaskTime) -> dict[str, float | None]:
    return {field: getattr(task, field) for field in FIELDS}


def _rows(name: str, arms: dict[str, dict[str, float | None]], *, comparable: bool) -> list[TimeRow]:
    rows = [
        TimeRow(task=name, arm=arm, cells=tuple(_cell(field, found.get(field)) for field in FIELDS))
        for arm, found in arms.items()
    ]
    if comparable and {BASELINE, COMPRESSED} <= arms.keys():
        ratios = tuple(_ratio(arms[COMPRESSED].get(field), arms[BASELINE].get(field)) for field in FIELDS)
        rows.append(TimeRow(task=name, arm=RATIO, cells=ratios))
    return rows


def _cell(field: str, value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if field in RATES else f"{value:.1f}"


def _ratio(compressed: float | None, baseline: float | None) -> str:
    return NONE if not compressed or not baseline else f"{compressed / baseline:.2f}"
