"""Tables for people: Markdown, printed and kept under reports/."""

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as plain text."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [f"| {' | '.join(f'{c:{w}}' for c, w in zip(row, widths, strict=True))} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def machine() -> str:
    """What was measured on, in a line."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def publish(name: str, text: str) -> Path:
    """Prints a report and writes it to ``reports/<UTC time>-<name>/report.md``; returns that path."""
    now = dt.datetime.now(dt.UTC)
    path = REPORTS / f"{now:%Y%m%dT%H%M%SZ}-{name}" / "report.md"
    text = f"{text}\n\n{machine()}; {now:%Y-%m-%d %H:%M} UTC\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"{text}\nwritten to {path}")  # noqa: T201 - the report is the program's output
    return path
