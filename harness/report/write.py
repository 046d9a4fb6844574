"""Writes a report to its run's folder and points `latest` to it."""

import os
from pathlib import Path

from harness import records
from harness.report.markdown import markdown
from harness.report.model import Report

JSON = "report.json"
MARKDOWN = "report.md"
LATEST = "latest"


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
    if not latest:
        return
    link = folder.parent / LATEST
    # Made aside and moved over the old one, so that `latest` never points nowhere.
    fresh = folder.parent / f".{LATEST}-{os.getpid()}"
    fresh.symlink_to(folder.name, target_is_directory=True)
    fresh.replace(link)
