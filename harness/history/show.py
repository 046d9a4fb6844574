"""A suite's nights in the terminal: figures with their trend in a line, charts, and what each alarm is about."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.history.record import POOLED, Figure
from harness.history.store import Run
from harness.history.trend import GOOD, Alarm, Chart, Trend, since_last_good
from harness.history.trend import SHOWN as SHOWN_RUNS
from harness.judge.verdict import Verdict
from harness.plan.plan import BASELINE, COMPRESSED
from harness.records.predictions import FIDELITY
from harness.safety import harmless

BARS = "▁▂▃▄▅▆▇█"
# Nights that a line shows.
SHOWN = 30
SHOWN_ITEMS = 5
SHOWN_CHANGES = 6
# Shares of questions; all else is in nats or seconds.
SHARES = frozenset({BASELINE, COMPRESSED, "change", "flips", "answers changed", "same top token"})
STYLES = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red"}


def show_trend(trend: Trend, console: Console) -> None:
    """Print a suite's nights."""
    newest = trend.runs[-1]
    console.print(_figures(trend))
    if trend.charts:
        console.print(_charts(trend))
    for line in lines(trend):
        console.print(harmless(line), markup=False, highlight=False, soft_wrap=True)
    console.print(f"trend: {trend.verdict}", style=STYLES.get(trend.verdict, "dim"), end=" ")
    also = f"; {trend.others} more of other models or compressions" if trend.others else ""
    verdicts = ", ".join(
        f"{number} {verdict}" for verdict, number in Counter(run.verdict for run in trend.runs).items()
    )
    said = f"{trend.suite}: {newest.model}, {newest.variant}, {count(len(trend.runs), 'run')}: {verdicts}{also}"
    console.print(harmless(said), markup=False, highlight=False)


def lines(trend: Trend) -> Iterator[str]:
    """Yield what got worse, since when, and what to look at, in lines; nothing where nothing did and all is well."""
    for chart in trend.charts:
        if chart.alarm is not None:
            judged = "" if chart.judged else " (watched only: no threshold judges it)"
            yield f"WORSE{judged} {chart.title}: {sentence(chart, chart.alarm)}"
            yield from (f"  {line}" for line in details(chart, chart.alarm))
    if (newest := trend.runs[-1]).verdict not in GOOD:
        yield from _of_newest(newest, trend.runs)


def _of_newest(run: Run, runs: Sequence[Run]) -> Iterator[str]:
    """Yield why the newest run is no good one, and what changed since the last that was."""
    reason = run.reasons[0].splitlines()[0] if run.reasons else "its report says why"
    yield f"{run.verdict} newest run {run.run_id}: {reason}"
    since = since_last_good(run, runs)
    if since is None:
        yield "  there was no good run before it"
        return
    good, changed = since
    if not changed:
        yield f"  nothing that a run's fingerprint knows changed since the last good run, {good.run_id}"
        return
    yield f"  changed since the last good run, {good.run_id}:"
    yield from (f"    {difference}" for difference in changed[:SHOWN_CHANGES])
    if (more := len(changed) - SHOWN_CHANGES) > 0:
        yield f"    and {count(more, 'other change')}: nox -s compare -- reports/{good.run_id} reports/{run.run_id}"


def sentence(chart: Chart, alarm: Alarm) -> str:
    """Return in a sentence since when a figure is worse and by how much."""
    by = amount(chart, alarm.by)
    return (
        f"worse by {by} since {alarm.since.run_id}, {alarm.surely:.1f} standard errors together; last good night "
        f"{alarm.reference.run_id}"
    )


def details(chart: Chart, alarm: Alarm) -> Iterator[str]:
    """Yield an alarm's suspects and what is newly wrong."""
    if not alarm.changes:
        yield "suspect: nothing that a run's fingerprint knows changed since the last good night"
    for change in alarm.changes[:SHOWN_CHANGES]:
        yield f"suspect: {change.what} (with {change.run.run_id})"
    if (more := len(alarm.changes) - SHOWN_CHANGES) > 0:
        yield f"and {count(more, 'other change')}"
    what = "text" if chart.task == FIDELITY else "question"
    named = ", ".join(
        f"{item.name.split(' ')[0]} ({amount(chart, item.worse)})"
        if chart.task == FIDELITY
        else f"{item.number} ({item.name[:12]})"
        for item in alarm.items[:SHOWN_ITEMS]
    )
    if alarm.items:
        more = len(alarm.items) - SHOWN_ITEMS
        rest = f" and {more} more" if more > 0 else ""
        yield f"newly {'worse' if what == 'text' else 'wrong'}: {count(len(alarm.items), what)}: {named}{rest}"


def amount(chart: Chart, value: float) -> str:
    """Return how much worse something is, in words."""
    return f"{value:.4f} nats a token" if chart.task == FIDELITY else f"{value * 100:.1f} points"


def sparkline(values: Sequence[float | None]) -> str:
    """Return a line of bars, the lowest value the lowest bar; a dot for no value."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    steps = len(BARS) - 1

    def bar(value: float | None) -> str:
        if value is None:
            return "·"
        # Without any spread all are in the middle.
        return BARS[steps // 2 if high == low else round((value - low) / (high - low) * steps)]

    return "".join(bar(value) for value in values)


def figure_rows(trend: Trend) -> dict[tuple[str, str], list[Figure | None]]:
    """Return each figure of the newest measured run, over the last runs; None where one has none."""
    figures = [trend.figures.get(run.run_id, []) for run in trend.runs[-SHOWN_RUNS:]]
    # A run that broke has no figure but its time.
    newest = next((found for found in reversed(figures) if any(one.task for one in found)), figures[-1])
    by_run = [{(one.task, one.name): one for one in found} for found in figures]
    return {
        (one.task, one.name): [run.get((one.task, one.name)) for run in by_run] for one in sorted(newest, key=order)
    }


def order(figure: Figure) -> tuple[int, str, int, str]:
    """Return where a figure stands: the tasks, all together, the texts, the times; within one, accuracies first."""
    places = {POOLED: 1, FIDELITY: 2, "": 3}
    names = (BASELINE, COMPRESSED, "change", "flips", "answers changed")
    return (
        places.get(figure.task, 0),
        figure.task,
        names.index(figure.name) if figure.name in names else len(names),
        figure.name,
    )


def _figures(trend: Trend) -> Table:
    table = Table(title=f"{trend.suite}: figures of {count(len(trend.runs), 'run')}", title_justify="left")
    for name in ("figure", "newest measured", "90 % interval", "floor or margin", f"median of {SHOWN}", "trend"):
        table.add_column(name, justify="left" if name in ("figure", "trend") else "right", no_wrap=name == "trend")
    for (task, name), found in figure_rows(trend).items():
        known = [one for one in found if one is not None]
        last = known[-1]
        interval = "" if last.low is None or last.high is None else f"{text(last, last.low)} {text(last, last.high)}"
        table.add_row(
            plain(f"{task} {name}"),
            text(last, last.value),
            interval,
            "" if last.limit is None else text(last, last.limit),
            text(last, median(one.value for one in known[-SHOWN:])),
            sparkline([None if one is None else one.value for one in found[-SHOWN:]]),
        )
    return table


def _charts(trend: Trend) -> Table:
    table = Table(title="Is it getting worse? Each night against the good nights before", title_justify="left")
    for name in ("chart", "nights", "newest, standard errors", "CUSUM", "speaks from", "its trend", "says"):
        table.add_column(name, justify="left" if name in ("chart", "its trend", "says") else "right")
    for chart in trend.charts:
        last = chart.nights[-1].step
        said = "nothing" if chart.alarm is None else f"WORSE since {chart.alarm.since.run_id}"
        table.add_row(
            plain(chart.title),
            str(len(chart.nights)),
            # What is better has no need of many digits.
            f"{last.score:+.1f}",
            f"{last.height:.1f}",
            f"{chart.limit:.1f}",
            sparkline([night.step.height for night in chart.nights[-SHOWN:]]),
            plain(said if chart.judged else f"{said} (watched only)"),
        )
    return table


def text(figure: Figure, value: float) -> str:
    """Return a figure's value as people read it: changes in points, shares to three digits."""
    if figure.name == "change":
        return f"{value * 100:+.1f}"
    if figure.name in SHARES:
        return f"{value:.3f}"
    return f"{value:.1f}" if re.match(r"seconds ", figure.name) else f"{value:.4g}"


def plain(text: str) -> str:
    """Return a text of unknown origin as a table's cell shows it, which no terminal and no table obeys."""
    return escape(harmless(text.strip()))


def count(number: int, what: str) -> str:
    """Return how many of something there are, in words."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
