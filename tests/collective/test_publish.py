"""Reports for people: what is written, where, and what a terminal shows."""

import io
import json
import math
import sys
from pathlib import Path

import pytest
from rich.console import Console

from suites import publish as publishing
from suites.publish import Marked, Section, publish, table

SECTION = Section(
    title="Errors [worst]",
    words="What [it] says.",
    head=["codec", "worst"],
    rows=[[Marked("int8|token"), Marked("1.20", "bold red")], [Marked("none"), Marked("[x]")]],
)


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that isn't there yet."""
    folder = tmp_path / "new" / "reports"
    monkeypatch.setattr(publishing, "REPORTS", folder)
    return folder


def test_a_table_lines_up_and_its_bars_are_escaped() -> None:
    lines = table(["a", "long name"], [["x|y", "1"], ["z", "22"]]).splitlines()
    assert lines == [
        "| a    | long name |",
        "|------|-----------|",
        r"| x\|y | 1         |",
        "| z    | 22        |",
    ]


def test_a_report_is_written_printed_and_linked(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = publish("table", "# Title", data={"worst": 0.5, "sqnr": [math.inf, math.nan]}, sections=[SECTION])
    written = path.read_text(encoding="utf-8")
    assert written.startswith("# Title\n\n## Errors [worst]\n\nWhat [it] says.\n\n| codec ")
    assert publishing.machine() in written
    assert capsys.readouterr().out == f"{written}\nwritten to {path}\n"
    record = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert record["table"] == {"worst": 0.5, "sqnr": [None, None]}
    assert record["machine"] == publishing.machine()
    page = (path.parent / "report.html").read_text(encoding="utf-8")
    assert "<h1>Title</h1>" in page
    assert '<th scope="row">int8|token</th><td class="bold red">1.20</td>' in page
    assert "Errors [worst]" in page
    assert (reports / "latest-table").resolve() == path.parent.resolve()


def test_two_reports_within_a_second_keep_their_own_folders(reports: Path) -> None:
    first, second = publish("table", "first"), publish("table", "second")
    assert first.read_text(encoding="utf-8").startswith("first")
    assert second.read_text(encoding="utf-8").startswith("second")
    assert (reports / "latest-table" / "report.md").read_text(encoding="utf-8").startswith("second")
    assert not (reports / "latest-table" / "report.json").exists()
    assert sorted(path.name for path in reports.iterdir()) == sorted(
        [first.parent.name, second.parent.name, "latest-table"]
    )


def test_where_no_folder_can_be_made_the_path_is_named(reports: Path) -> None:
    reports.parent.mkdir()
    reports.write_text("in the way")
    with pytest.raises(OSError, match="reports"):
        publish("table", "text")


def test_a_terminal_gets_colour_and_all_of_every_line(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("NO_COLOR", raising=False)
    path = publish("table", "# Title", sections=[SECTION])
    shown = screen.getvalue()
    assert "\x1b[1;31m1.20\x1b[0m" in shown
    assert "Errors [worst]" in shown
    assert "What [it] says." in shown
    assert str(path) in shown
    assert "\x1b" not in path.read_text(encoding="utf-8")
    assert reports in path.parents


def test_text_in_brackets_is_text() -> None:
    console = Console(file=io.StringIO(), record=True, width=80)
    SECTION.show(console)
    assert "[x]" in console.export_text()
