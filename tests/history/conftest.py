"""The commands that read what nights left."""

import pytest

from tests.commands import run_command
from tests.history.nights import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; give its exit code, and all that it said."""

    def command(*arguments: object) -> tuple[int, str]:
        ran = run_command(monkeypatch, capsys, *arguments)
        return ran.code, ran.out + ran.err

    return command
