"""report.md: the report for a person who has two minutes, and for a CI step summary."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.judge.prediction_shift import Estimate, PredictionShift
from harness.judge.results import FidelityReport, JudgedDrop, Paired
from harness.judge.traffic import traffic_line
from harness.plan.data_line import data_line
from harness.report.live_check import decibels, live_check_line, worst_layers
from harness.report.model import Report
from harness.report.time_table import HEAD, time_notes, time_rows, time_summary

TEMPLATE = Path(__file__).with_name("report.md.jinja")
# Two one-sided bounds of 95 % each leave out 5 % on either side.
INTERVALS = "intervals: 90 %; each bound by itself holds with 95 %"


def markdown(report: Report, *, plots: str | None = None) -> str:
    """Return the report as Markdown.

    Args:
        report: The report.
        plots: The file of its plots beside it, if there is one.
    """
    filters = (
        *(item, live_check_line, traffic_line, worst_layers, decibels, cell, share, points, size, interval, small),
        *(limit, quoted, data_line),
    )
    shown = {"time_head": HEAD, "time_notes": time_notes, "time_rows": time_rows, "time_summary": time_summary}
    given = {"report": report, "plots": plots, "shifts": shifts, "judged_drops": judged_drops, **shown}
    return filled(TEMPLATE, given, filters)


def filled(template: Path, given: Mapping[str, object], filters: Iterable[Callable[..., object]] = ()) -> str:
    """Return a template of Markdown, filled in.

    Args:
        template: Its file.
        given: What it shows, by name.
        filters: The functions that it pipes values through, by their own names.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
    )
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals |= given
    return environment.get_template(template.name).render()


def item(text: str) -> str:
    """Return text for one item of a list; from the second line on (a server's log) it is shown as it is."""
    first, _, rest = text.partition("\n")
    return first if not rest else "\n".join((first, "", *(f"      {line}" for line in rest.splitlines()), ""))


def cell(text: str) -> str:
    """Return text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def share(value: float | None) -> str:
    """Return a share to three places, or a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def points(value: float) -> str:
    """Return a difference of shares in percentage points."""
    return f"{value * 100:+.1f}"


def size(count: int) -> str:
    """Return a number of bytes in MiB."""
    return f"{count / 2**20:.1f} MiB"


def small(value: float) -> str:
    """Return a number of any size to three digits."""
    return f"{value:.3g}"


def limit(value: float | None) -> str:
    """Return a limit, or a dash for none."""
    return "-" if value is None else f"{value:g}"


def interval(estimate: Estimate) -> str:
    """Return an estimate with its bounds."""
    return f"{small(estimate.mean)} ({small(estimate.low)} to {small(estimate.high)})"


def quoted(text: str) -> str:
    """Return text of a model for one cell of a table, its spaces and line ends visible."""
    shown = repr(text).replace("|", "\\|").replace("`", "'")
    return f"`{shown}`"


def shifts(fidelity: FidelityReport) -> list[tuple[str, PredictionShift]]:
    """Return the rows of the table of predictions: all, each class of positions, and what the baseline does alone."""
    overall, noise = fidelity.compressed.overall, fidelity.noise.overall if fidelity.noise else None
    rows = [("all", overall), *fidelity.compressed.positions.items(), ("all, baseline against itself", noise)]
    return [(name, shift) for name, shift in rows if shift is not None]


def judged_drops(report: Report) -> list[tuple[str, int, Paired, JudgedDrop, str]]:
    """Return the rows of the table of drops: name, questions, arms, what decides, verdict; the pooled one last."""
    rows = [
        (name, task.n, task.paired, task.tests.drop, task.verdict)
        for name, task in report.tasks.items()
        if task.tests.drop is not None
    ]
    pooled = report.pooled
    return [*rows, *([("all together", pooled.n, pooled.paired, pooled.drop, pooled.verdict)] if pooled else [])]
