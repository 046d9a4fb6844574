"""The campaign's table: every kind of fault, what was expected and what was seen."""

import platform
import re
from collections.abc import Sequence
from itertools import groupby

from suites.faults.kinds import Row

HEAD = """\
# Reliability

What happens when something breaks: `nox -s faults` breaks the harness on purpose, looks at what it makes of
it, and writes this page (`-- --out docs`). Most faults are a server's that fails on demand in SGLang's place
(`suites/faults/server.py`); the rest of a run is real: command line, guard, processes, files. After each fault: the
right verdict and exit code, no traceback, no process left, no answer lost that was there, nothing half-written, and
where a run can be gone on with, `--resume` gives the report of an unbroken run.
"""


def document(rows: Sequence[Row], *, form: str) -> str:
    """Return the page.

    Args:
        rows: What was seen, in the order in which the page has it.
        form: Which form of the campaign it was: the whole, the short one, a part.
    """
    tried = [row for row in rows if row.cases]
    bad = [row for row in rows if row.problems]
    days = sorted({row.day.isoformat() for row in rows})
    commits = list(dict.fromkeys(row.commit for row in rows))
    counts = (
        f"{' to '.join(dict.fromkeys([*days[:1], *days[-1:]]))}, commit {', '.join(commits)}, "
        f"Python {platform.python_version()}, {platform.system()}: {form}. "
        f"**{len(tried)} kinds, {sum(row.cases for row in rows)} faults; {len(tried) - len(bad)} kinds as expected, "
        f"{len(bad)} not.**"
    )
    lines = [HEAD, counts, ""]
    if bad:
        lines += ["## Not as expected", ""]
        lines += [f"- {row.family}: {row.name}: {_cell('; '.join(row.problems))}" for row in bad]
        lines.append("")
    for family, of_family in groupby(rows, key=lambda row: row.family):
        lines += [
            f"## {family.capitalize()}",
            "",
            "| fault | where | expected | seen | ok |",
            "|---|---|---|---|---|",
        ]
        for row in of_family:
            cells = (row.name, row.where, row.expected, row.seen or "-", _ok(row))
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        lines.append("")
    return "\n".join(lines)


def _ok(row: Row) -> str:
    return "**no**" if row.problems else "yes" if row.cases else "not run"


def _cell(text: str) -> str:
    """Return a text as a cell of a table: in one line, without what Markdown or a CI system would read."""
    printable = re.sub(r"[^\x20-\x7e\u00a0-\u2027\u202f-\ud7ff]", " ", text)
    return printable.replace("|", "\\|").replace("::", ":")[:300]
