"""The command line, run in this process."""

import sys
from typing import NamedTuple

import pytest

from harness.cli.main import main


class Ran(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str


def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run a command of the harness, without its handlers of signals."""
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    code = main()
    said = capsys.readouterr()
    return Ran(code, said.out, said.err)
