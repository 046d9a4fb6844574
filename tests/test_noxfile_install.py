"""What installs: uv told what pip is told, and pip where uv is not there or cannot do it."""

from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from nox.command import CommandFailed

import noxfile

LISTED = """\
:env:.cert='/etc/ssl/own.pem'
:env:.default-timeout='180'
global.cert='/etc/ssl/all.pem'
global.constraint='/etc/constraints.txt'
global.extra-index-url='https://mirror.example/one https://mirror.example/two'
global.find-links='/opt/wheels'
global.index-url='https://mirror.example/simple'
install.no-index='true'
"""


class Installing:
    """A session whose pip is configured as LISTED; what of it `fails` says fails, as nox tells it."""

    def __init__(self, *, fails: str = "nothing") -> None:
        self.ran: list[list[str]] = []
        self.environments: list[Any] = []
        self.logged: list[str] = []
        self.log = self.logged.append
        self._fails = fails

    def run(self, *command: str, env: dict[str, str] | None = None, **_: object) -> str:
        if command[-2:] == ("config", "list"):
            return LISTED
        self.ran.append(list(command))
        self.environments.append(env)
        if self._fails in command:
            raise CommandFailed(reason="it failed", return_code=1)
        return ""


@pytest.fixture(params=[True, False], ids=["uv is there", "no uv"])
def has_uv(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Have nox's environment hold uv, or not."""
    there: bool = request.param
    monkeypatch.setattr(noxfile, "find_spec", lambda name: ModuleSpec(name, None) if there else None)
    return there


def test_uv_is_told_what_pip_is_told() -> None:
    options, env = noxfile.in_words_of_uv(noxfile.pip_settings(LISTED))
    assert options == [
        "--default-index=https://mirror.example/simple",
        "--index=https://mirror.example/one",
        "--index=https://mirror.example/two",
        "--find-links=/opt/wheels",
        "--constraint=/etc/constraints.txt",
        "--no-index",
    ]
    assert env == {"SSL_CERT_FILE": "/etc/ssl/own.pem", "UV_HTTP_TIMEOUT": "180"}


def test_a_pip_that_is_told_nothing_tells_uv_nothing() -> None:
    assert noxfile.in_words_of_uv(noxfile.pip_settings("\n")) == ([], {})


@pytest.mark.parametrize("hashed", [True, False])
def test_what_is_locked_is_installed_without_constraints(*, has_uv: bool, hashed: bool) -> None:
    session: Any = Installing()
    noxfile.fetch(session, Path("python"), *(["--require-hashes"] if hashed else []), "-r", "some.lock")
    [command] = session.ran
    assert command[2] == ("uv" if has_uv else "pip")
    assert ("--constraint=/etc/constraints.txt" in command) == (has_uv and not hashed)
    assert command[-2:] == ["-r", "some.lock"]


def test_where_uv_fails_pip_tries_it_and_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "find_spec", lambda name: ModuleSpec(name, None))
    session: Any = Installing(fails="uv")
    noxfile.fetch(session, Path("python"), "-r", "some.lock")
    assert [command[2] for command in session.ran] == ["uv", "pip"]
    assert session.logged == ["uv could not install these: pip tries it"]
