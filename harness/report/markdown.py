"""report.md: the report for a person who has two minutes, and for a CI step summary."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.live_check import decibels, live_check_line, worst_layers
from harness.report.model import Report

TEMPLATE = "report.md.jinja"


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
    )
    environment.filters["item"] = item
    environment.filters["live_check_line"] = live_check_line
    environment.filters["worst_layers"] = worst_layers
    environment.filters["decibels"] = decibels
    environment.filters["cell"] = cell
    environment.filters["share"] = share
    environment.filters["points"] = points
    environment.filters["size"] = size
    return environment.get_template(TEMPLATE).render(report=report)


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
