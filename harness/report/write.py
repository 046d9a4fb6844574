"""Writes a report to its run's folder and points `latest` to it."""

from pathlib import Path

from harness import records
from harness.latest import point_latest
from harness.report.markdown import markdown
from harness.report.model import Report
from harness.report.plots import draw

JSON = "report.json"
MARKDOWN = "report.md"
PLOTS = "report.svg"


def write_report(report: Report, folder: Path, *, latest: bool = True) -> None:
    """Write report.json and report.md, and report.svg where there is anything to draw.

    Args:
        report: The report.
        folder: The run's folder.
        latest: Whether to point the `latest` beside `folder` to it; not for an old run built again.

    Raises:
        OSError: They cannot be written.
    """
    records.write(folder / JSON, report)
    # Not one that an earlier report drew from other files.
    (folder / PLOTS).unlink(missing_ok=True)
    plots = PLOTS if draw(report, folder, folder / PLOTS) else None
    (folder / MARKDOWN).write_text(markdown(report, plots=plots), encoding="utf-8")
    if latest:
        point_latest(folder)
