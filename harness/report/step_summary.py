"""The report on a GitHub job's own page: its Markdown, as far as that page can show and hold it.

Source: docs.github.com, "Workflow commands for GitHub Actions", adding a job summary: at most 1 MiB a step, beyond
    which nothing of the step's summary is shown at all.
"""

import os
from pathlib import Path

from harness.report.markdown import markdown
from harness.report.model import Report
from harness.report.text_plot import accuracy_plot

VARIABLE = "GITHUB_STEP_SUMMARY"
MOST_BYTES = 1 << 20


def add_step_summary(report: Report) -> None:
    """Add the report to the summary of the GitHub step that this runs in; do nothing elsewhere.

    A summary shows no file of the run: the plot is drawn in characters. What would not fit beside what the step has
    written before is cut, with a note; where not even that fits, nothing is added.

    Raises:
        OSError: The summary cannot be written.
    """
    if not os.environ.get(VARIABLE):
        return
    file = Path(os.environ[VARIABLE])
    taken = file.stat().st_size if file.exists() else 0
    with file.open("ab") as summary:
        summary.write(step_summary(report, MOST_BYTES - taken))


def step_summary(report: Report, most: int) -> bytes:
    """Return the report for a step summary, in UTF-8 and at most `most` bytes."""
    plot = accuracy_plot(report)
    drawn = f"\n```text\n{plot}\n```\n" if plot else ""
    head, _, rest = markdown(report).partition("\n## ")
    text = f"{head}{drawn}" + (f"\n## {rest}" if rest else "") + "\n"
    content = text.encode()
    if len(content) <= most:
        return content
    note = f"\n\n… cut: a step's summary holds 1 MiB; the whole is in the run's report.md ({len(content)} bytes)\n"
    room = most - len(note.encode())
    if room <= 0:
        return b""
    # At the end of a line: half a row would take the whole table with it.
    kept = content[:room]
    return kept[: kept.rfind(b"\n") + 1] + note.encode()
