"""A session whose environments are there at once."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import environments
from tests.sessions.notes import Answer, Notes


@pytest.fixture
def notes_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Notes]:
    """Make a session: what the user gives it, and what its commands answer."""
    packages = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def environment(_session: object, name: str) -> Path:
        (tmp_path / name / packages).mkdir(parents=True, exist_ok=True)
        return tmp_path / name / "bin" / "python"

    plugin = tmp_path / "plugin"
    plugin.mkdir()
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments, "environment", environment)
    monkeypatch.setattr(environments, "install", lambda *_, **__: False)
    monkeypatch.setattr(environments, "alone", nullcontext)
    monkeypatch.setattr(environments, "plugin_folder", lambda: plugin)
    for name in ("HARNESS_SERVER_PYTHON", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)

    def make(*posargs: str, answers: dict[tuple[str, ...], Answer] | None = None) -> Notes:
        return Notes(tmp_path, posargs, answers or {})

    return make
