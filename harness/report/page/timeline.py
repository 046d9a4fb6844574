"""Where the bars of the page's timeline are: each arm's starts and tasks, a task divided into what it went into."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.judge.time_spent import PARTS, ArmTime, TaskTime, TimeSpent
from harness.report.page.charts import Scale
from harness.report.time_table import NAMES

# Of an arm's row in the SVG.
TOP, ROW = 8.0, 40.0
# From here on the scale is in minutes.
MINUTES_FROM_S = 600.0
# A letter's width: a name is written where it has room below its task.
LETTER = 6.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar, or a part of one.

    Attributes:
        kind: `start`, one of `PARTS`, or `whole`: a task of which the parts are not known, or were not asked in turn.
        title: What it is, in words.
        x: Where it begins, in the SVG's units.
        width: How wide it is.
    """

    kind: str
    title: str
    x: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm.

    Attributes:
        arm: Its name.
        y: Where its bars begin.
        bars: Its bars.
        names: The tasks' names that have room, and where the middle of each is.
        told: Its starts and tasks in words.
    """

    arm: str
    y: float
    bars: list[Bar]
    names: list[tuple[str, float]]
    told: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The arms on one clock.

    Attributes:
        rows: The arms.
        scale: Of the clock, in `unit`.
        unit: `s` or `minutes`.
        bottom: Where the rows end.
    """

    rows: list[Row]
    scale: Scale
    unit: str
    bottom: float


def timeline(time: TimeSpent | None) -> Timeline | None:
    """Return where a timeline's bars are; None where no arm recorded when it did what."""
    arms = {name: arm for name, arm in time.arms.items() if arm.of_this_run and arm.starts} if time else {}
    if time is None or not arms:
        return None
    by, unit = (60.0, "minutes") if time.seconds >= MINUTES_FROM_S else (1.0, "s")
    end = max(time.seconds, 1e-3)
    seconds = Scale(0.0, end)
    return Timeline(
        rows=[_row(name, arm, TOP + ROW * number, seconds) for number, (name, arm) in enumerate(arms.items())],
        scale=Scale(0.0, end / by),
        unit=unit,
        bottom=TOP + ROW * len(arms),
    )


def _row(name: str, arm: ArmTime, y: float, scale: Scale) -> Row:
    bars = [
        _bar("start", f"{name}: start {span.seconds:.1f} s", scale, span.began, span.seconds) for span in arm.starts
    ]
    names = []
    for task, found in arm.tasks.items():
        bars += _task_bars(f"{name}, {task}", found, scale)
        if found.spans:
            span = max(found.spans, key=lambda span: span.seconds)
            left, right = scale.at(span.began), scale.at(span.ended)
            if right - left >= LETTER * len(task):
                names.append((task, round((left + right) / 2, 1)))
    told = ", ".join(
        [f"start {arm.start:.0f} s", *(f"{task} {found.seconds:.0f} s" for task, found in arm.tasks.items())]
    )
    return Row(arm=name, y=y, bars=bars, names=names, told=told)


def _task_bars(name: str, task: TaskTime, scale: Scale) -> Iterator[Bar]:
    """Yield a task's bar, and above it its parts: each as wide as its share of the seconds in which it was asked."""
    whole = sum(span.seconds for span in task.spans)
    parts = {part: getattr(task, part) for part in PARTS}
    for span in task.spans:
        yield _bar("whole", f"{name}: {task.seconds:.1f} s", scale, span.began, span.seconds)
        at = span.began
        for part, seconds in parts.items():
            if seconds and whole > 0:
                share = seconds * span.seconds / whole
                yield _bar(part, f"{name}: {NAMES.get(part, part)} {seconds:.1f} s", scale, at, share)
                at += share


def _bar(kind: str, title: str, scale: Scale, began: float, seconds: float) -> Bar:
    x = scale.at(began)
    return Bar(kind=kind, title=title, x=x, width=round(max(scale.at(began + seconds) - x, 0.3), 1))
