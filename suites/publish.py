"""Reports for people: Markdown, a page and JSON under reports/, and the same on the screen."""

import datetime as dt
import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape

from harness.places import point_latest
from harness.report.page.frame import render
from harness.run.versions import cpu_model, installed

REPORTS = Path(__file__).resolve().parents[1] / "reports"

WIDTH = 125
"""Columns that tables take on a narrower terminal, too: it wraps their lines, where rich would cut figures off."""


@dataclass(frozen=True)
class Marked:
    """A cell's text, and a rich style that a terminal shows it in."""

    text: str
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table with its title and what to know about it."""

    title: str
    words: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Marked]] = ()

    def markdown(self) -> str:
        """As text."""
        grid = [table(self.head, [[cell.text for cell in row] for row in self.rows])] if self.rows else []
        return "\n\n".join(part for part in (f"## {self.title}", self.words, *grid) if part)

    def show(self, console: Console) -> None:
        """On a terminal."""
        console.print(f"\n[bold]{escape(self.title)}[/]", highlight=False)
        if self.words:
            console.print(self.words, markup=False, highlight=False)
        if self.rows:
            drawn = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
            for name in self.head:
                drawn.add_column(name, no_wrap=True)
            for row in self.rows:
                drawn.add_row(*(f"[{cell.style or 'none'}]{escape(cell.text)}[/]" for cell in row))
            console.print(drawn)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as plain text."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [f"| {' | '.join(f'{c:{w}}' for c, w in zip(row, widths, strict=True))} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def machine() -> str:
    """What was measured on, in a line."""
    return f"{cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {installed('torch')}"


def as_page(text: str, sections: Sequence[Section], footer: str) -> str:
    """A report as a page: its title and paragraphs, then the sections."""
    title, *paragraphs = text.split("\n\n")
    return render(
        "published.html.jinja",
        folder=Path(__file__).parent,
        title=title.removeprefix("# "),
        paragraphs=paragraphs,
        sections=sections,
        footer=footer,
    )


def publish(name: str, text: str, *, data: object = None, sections: Sequence[Section] = ()) -> Path:
    """Prints a report and writes it to a new folder ``reports/<UTC time>-<name>``, where ``latest-<name>`` leads.

    Args:
        name: Of the report.
        text: Markdown: a title and whatever comes before the sections.
        data: What ``report.json`` holds beside machine and time, with null for what isn't finite, which JSON can't
            hold; without it none is written.
        sections: What follows, and what makes a page, report.html, worth it. A terminal shows them in colour,
            anything else prints their Markdown.

    Returns:
        The path of report.md.

    Raises:
        OSError: It can't be written.
    """
    now = dt.datetime.now(dt.UTC)
    folder = _new_folder(f"{now:%Y%m%d-%H%M%S}-{name}")
    footer = f"{machine()}; {now:%Y-%m-%d %H:%M} UTC"
    whole = "\n\n".join((text, *(section.markdown() for section in sections), f"{footer}\n"))
    path = folder / "report.md"
    path.write_text(whole, encoding="utf-8")
    if sections:
        (folder / "report.html").write_text(as_page(text, sections, footer), encoding="utf-8")
    if data is not None:
        record = {"machine": machine(), "finished": now.isoformat(timespec="seconds"), name: _finite(data)}
        (folder / "report.json").write_text(f"{json.dumps(record, indent=1, allow_nan=False)}\n", encoding="utf-8")
    point_latest(folder, f"latest-{name}")
    console = Console(file=sys.stdout)
    if sections and console.is_terminal:
        console = Console(file=sys.stdout, width=max(console.width, WIDTH))
        console.print(text, markup=False, highlight=False)
        for section in sections:
            section.show(console)
        console.print(footer, markup=False, highlight=False)
    else:
        print(whole)  # noqa: T201 - the report is the program's output
    print(f"written to {path}")  # noqa: T201
    return path


def _finite(data: object) -> object:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _new_folder(name: str) -> Path:
    """A folder that wasn't there before: two reports may end within one second."""
    for number in range(1, 1000):
        folder = REPORTS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{REPORTS / name} and 998 more like it exist already")
