"""Writes a study: report.json, what is drawn from it, and policy.yaml, and points `latest-study` to them."""

from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from harness.places import point_latest
from harness.records.run import write_record, write_whole
from harness.report.markdown import filled
from harness.study.folder import StudyFolder
from harness.study.model import StudyReport
from harness.study.page import page
from harness.study.plan import PR_CODEC
from harness.study.plots import draw
from harness.study.words import by_harm, said_time

LATEST = "latest-study"
TEMPLATE = Path(__file__).with_name("study.md.jinja")


def write_study(report: StudyReport, folder: StudyFolder, *, latest: bool = True) -> None:
    """Write a study's report in all its forms.

    Args:
        report: The report.
        folder: The study's folder.
        latest: Whether to point `latest-study` to it; not for an old study built again.

    Raises:
        OSError: They cannot be written.
    """
    write_record(folder.report, report)
    # A link in a file's place is not followed.
    folder.plots.unlink(missing_ok=True)
    draw(report, folder.plots)
    write_whole(folder.markdown, markdown(report))
    write_whole(folder.page, page(report))
    if report.recommended is not None:
        yaml = YAML()
        yaml.width = 118
        out = StringIO()
        out.write(f"# {report.recommended.name}: of {report.run_id}, {report.model} at {report.ranks[0]} ranks\n")
        yaml.dump({"name": report.recommended.name, "rules": report.recommended.policy}, out)
        write_whole(folder.policy, out.getvalue())
    if latest:
        point_latest(folder.path, LATEST)


def markdown(report: StudyReport) -> str:
    """Return the report for people."""
    shown = {"by_harm": by_harm, "said_time": said_time, "pr_codec": PR_CODEC}
    return filled(TEMPLATE, {"report": report, **shown})
