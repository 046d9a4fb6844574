"""The command line without anything of its user's around it."""

from pathlib import Path

import pytest

from tests.cli.harness import Harness


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Harness:
    for name in ("HARNESS_SERVER_PYTHON", "HARNESS_PLUGIN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    # Messages are compared: a terminal's width must not break their lines.
    monkeypatch.setenv("COLUMNS", "500")
    return Harness(monkeypatch, capsys, tmp_path)
