"""Writes a report to its run's folder."""

from harness.records.run import write_record, write_whole
from harness.records.run_folder import RunFolder
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.report.model import Report
from harness.report.page.page import page
from harness.report.plots import draw


def write_report(report: Report, folder: RunFolder) -> None:
    """Write report.json, and from it report.md, report.xml, report.html, and report.svg where anything can be drawn.

    Args:
        report: The report.
        folder: The run's folder.

    Raises:
        OSError: They cannot be written.
    """
    write_record(folder.report, report)
    # Not one that an earlier report drew from other files.
    folder.plots.unlink(missing_ok=True)
    plots = folder.plots.name if draw(report, folder) else None
    write_whole(folder.markdown, markdown(report, plots=plots))
    write_whole(folder.junit, junit(report))
    write_whole(folder.page, page(report, folder))
