"""A suite's nights drawn: accuracies with their floor, changes with their margin, predictions, and the CUSUMs."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from harness.history.record import Figure
from harness.history.show import figure_rows
from harness.history.trend import SHOWN, Chart, Trend
from harness.plan.plan import BASELINE, COMPRESSED
from harness.records.predictions import FIDELITY
from harness.report.plots import COMPRESSED_COLOUR, LOST, NOISE_COLOUR, style

PANEL_INCHES = (7.0, 2.2)


def draw_trend(trend: Trend, file: Path) -> None:
    """Draw a suite's last nights, the same file for the same nights.

    Args:
        trend: The nights.
        file: The SVG to write.

    Raises:
        OSError: It cannot be written.
    """
    rows = {key: found[-SHOWN:] for key, found in figure_rows(trend).items()}
    tasks = list(dict.fromkeys(task for task, _ in rows if task))
    charts = {task: [chart for chart in trend.charts if chart.task == task] for task in tasks}
    runs = trend.runs[-SHOWN:]
    width, height = PANEL_INCHES
    with style("history"):
        drawing = Drawing(figsize=(2 * width, height * max(len(tasks), 1)), layout="constrained")
        panels = drawing.subplots(max(len(tasks), 1), 2, squeeze=False)
        places = {run.run_id: number for number, run in enumerate(runs)}
        for task, (left, right) in zip(tasks, panels, strict=False):
            _values(left, task, rows)
            _heights(right, charts[task], places)
            for axes in (left, right):
                axes.set_xlim(-0.5, len(runs) - 0.5)
                _name_nights(axes, [run.started[5:10] for run in runs])
                for number, run in enumerate(runs):
                    if run.verdict in ("FAIL", "ERROR"):
                        axes.axvspan(number - 0.5, number + 0.5, color=LOST, alpha=0.08, linewidth=0)
        drawing.savefig(file, format="svg", metadata={"Date": None})


def _values(axes: Axes, task: str, rows: dict[tuple[str, str], list[Figure | None]]) -> None:
    if task == FIDELITY:
        _line(axes, rows.get((task, "mean KL"), []), "mean KL", COMPRESSED_COLOUR)
        axes.set(title="fixed texts: mean KL divergence, its 90 % interval and limit", ylabel="nats a token")
        axes.set_ylim(bottom=0)
        return
    if (task, COMPRESSED) not in rows:
        _line(axes, rows.get((task, "change"), []), "change", COMPRESSED_COLOUR, scale=100)
        axes.set(title=f"{task}: change of accuracy, its 90 % interval and margin", ylabel="points")
        return
    _line(axes, rows.get((task, BASELINE), []), "baseline", NOISE_COLOUR)
    _line(axes, rows[task, COMPRESSED], "compressed", COMPRESSED_COLOUR)
    axes.set(title=f"{task}: accuracy of both arms, and the floor", ylabel="accuracy")
    axes.legend(frameon=False, loc="best")


def _line(axes: Axes, found: Sequence[Figure | None], label: str, colour: str, *, scale: float = 1.0) -> None:
    known = [(number, one) for number, one in enumerate(found) if one is not None]
    at = [number for number, _ in known]
    axes.plot(
        at, [scale * one.value for _, one in known], ".-", color=colour, label=label, linewidth=0.8, markersize=4
    )
    bounded = [(number, one.low, one.high) for number, one in known if one.low is not None and one.high is not None]
    if bounded:
        nights, lows, highs = zip(*bounded, strict=True)
        axes.fill_between(
            nights,
            [scale * low for low in lows],
            [scale * high for high in highs],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    limits = [(number, one.limit) for number, one in known if one.limit is not None]
    if limits:
        nights, values = zip(*limits, strict=True)
        axes.step(nights, [scale * value for value in values], where="mid", color=LOST, linewidth=0.8)


def _heights(axes: Axes, charts: Sequence[Chart], places: dict[str, int]) -> None:
    colours = (NOISE_COLOUR, COMPRESSED_COLOUR)
    for chart, colour in zip(charts, colours, strict=False):
        shown = [(places[one.run.run_id], one.step) for one in chart.nights if one.run.run_id in places]
        axes.plot(
            [number for number, _ in shown],
            [step.height for _, step in shown],
            ".-",
            color=colour,
            label=chart.name,
            linewidth=0.8,
            markersize=4,
        )
        axes.axhline(chart.limit, color=LOST, linewidth=0.8)
        if chart.alarm is not None and (since := places.get(chart.alarm.since.run_id)) is not None:
            axes.axvline(since, color=colour, linewidth=0.8, linestyle="--")
    axes.set(title="CUSUM against the good nights: worse above the line, since the dashes", ylabel="standard errors")
    axes.set_ylim(bottom=0)
    if charts:
        axes.legend(frameon=False, loc="upper left")


def _name_nights(axes: Axes, names: Sequence[str]) -> None:
    step = max(1, len(names) // 8)
    axes.set_xticks(range(0, len(names), step), names[::step])
