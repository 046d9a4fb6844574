"""Writes a report to its run's folder and points `latest` to it."""

from pathlib import Path

from harness import records
from harness.latest import point_latest
from harness.report.markdown import markdown
from harness.report.model import Report

JSON = "report.json"
MARKDOWN = "report.md"


def write_report(report: Report, folder: Path, *, latest: bool = True) -> None:
    """Write report.json and report.md.

    Args:
        report: The report.
        folder: The run's folder.
        latest: Whether to point the `latest` beside `folder` to it; not for an old run built again.

    Raises:
        OSError: They cannot be written.
    """
    records.write(folder / JSON, report)
    (folder / MARKDOWN).write_text(markdown(report), encoding="utf-8")
    if latest:
        point_latest(folder)
