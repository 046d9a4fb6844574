"""The environments: what makes them, when they are made anew, and what installs into them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from nox.command import CommandFailed

import environments
from harness.prepare.unused import UNUSED_S
from pip_settings import in_words_of_uv, pip_settings

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
    monkeypatch.setattr(environments, "find_spec", lambda name: ModuleSpec(name, None) if there else None)
    return there


def test_uv_is_told_what_pip_is_told() -> None:
    options, env = in_words_of_uv(pip_settings(LISTED))
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
    assert in_words_of_uv(pip_settings("\n")) == ([], {})


@pytest.mark.parametrize("hashed", [True, False])
def test_what_is_locked_is_installed_without_constraints(*, has_uv: bool, hashed: bool) -> None:
    session: Any = Installing()
    environments.fetch(session, Path("python"), *(["--require-hashes"] if hashed else []), "-r", "some.lock")
    [command] = session.ran
    assert command[2] == ("uv" if has_uv else "pip")
    assert ("--constraint=/etc/constraints.txt" in command) == (has_uv and not hashed)
    assert command[-2:] == ["-r", "some.lock"]


def test_pips_own_word_for_its_own_packages_goes_to_pip_alone(*, has_uv: bool) -> None:
    session: Any = Installing()
    environments.fetch(session, Path("python"), "--ignore-installed", "-r", "some.lock")
    [command] = session.ran
    assert ("--ignore-installed" in command) != has_uv


def test_where_uv_fails_pip_tries_it_and_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_spec", lambda name: ModuleSpec(name, None))
    session: Any = Installing(fails="uv")
    environments.fetch(session, Path("python"), "-r", "some.lock")
    assert [command[2] for command in session.ran] == ["uv", "pip"]
    assert session.logged == ["uv could not install these: pip tries it"]


@pytest.mark.parametrize("kept", [True, False])
def test_all_is_compiled_at_once_only_where_python_does_not_keep_what_it_compiles(
    monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    monkeypatch.setattr(environments, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "" if kept else "1")
    session: Any = Installing()
    environments.fetch(session, Path("python"), "-r", "some.lock")
    assert ("--compile-bytecode" in session.ran[0]) != kept


class Commands:
    """A session that notes what it would run, or really runs it; what `fails` says fails, as nox tells it."""

    def __init__(self, *, fails: str = "no such command") -> None:
        self.ran: list[list[str]] = []
        self.logged: list[str] = []
        self.log = self.logged.append
        self._fails = fails

    def run(self, *command: str, **_: object) -> str:
        self.ran.append(list(command))
        if self._fails in command:
            raise CommandFailed(reason="it failed", return_code=1)
        if "venv" in command:
            folder = Path(command[-1])
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / "python").touch()
            library = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
            (library / "site-packages").mkdir(parents=True)
        for target in (word.removeprefix("--target=") for word in command if word.startswith("--target=")):
            (Path(target) / "harness").mkdir(parents=True)
        return ""

    def made(self) -> int:
        """Return how many environments were made."""
        return sum("venv" in command for command in self.ran)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a checkout without environments, whose own they will be."""
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    for file in (*environments.ROOT.glob("*.py"), environments.ROOT / "pyproject.toml"):
        shutil.copy(file, tmp_path)
    for name in ("requirements", "harness"):
        shutil.copytree(environments.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path / "requirements")
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / ".nox")
    monkeypatch.setattr(environments, "PLUGINS", tmp_path / ".nox" / "plugin")
    environments.plugin_folder.cache_clear()
    yield tmp_path
    environments.plugin_folder.cache_clear()


def test_a_package_index_out_of_reach_is_an_error_and_no_fail(checkout: Path) -> None:
    """The real nox, which makes the environment and cannot fill it."""
    env = {**os.environ, "PIP_NO_INDEX": "1"}
    command = [sys.executable, "-m", "nox", "-f", str(checkout / "noxfile.py"), "-s", "accuracy"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == environments.ERROR, done.stderr
    assert "ERROR: what is to be measured cannot be made ready" in done.stderr
    assert (checkout / ".nox" / ".harness.unfinished").exists()


def test_an_environment_that_was_left_half_made_is_made_anew(checkout: Path) -> None:
    broken: Any = Commands(fails="pip")
    with pytest.raises(SystemExit) as end:
        environments.harness_environment(broken)
    assert end.value.code == environments.ERROR
    stray = checkout / ".nox" / "harness" / "half"
    stray.touch()
    whole: Any = Commands()
    environments.harness_environment(whole)
    assert (broken.made(), whole.made()) == (1, 1)
    assert not stray.exists()
    again: Any = Commands()
    environments.harness_environment(again)
    assert not again.ran


@pytest.mark.parametrize("lost", ["bin/python", "lib"])
def test_an_environment_of_a_python_that_is_gone_is_made_anew(checkout: Path, lost: str) -> None:
    first: Any = Commands()
    environments.harness_environment(first)
    gone = checkout / ".nox" / "harness" / lost
    gone.rename(gone.with_name("gone"))
    second: Any = Commands()
    environments.harness_environment(second)
    assert second.made() == 1


def test_checkouts_with_the_same_locks_share_what_the_cache_holds(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path_factory.mktemp("kept")
    monkeypatch.setenv("HARNESS_CACHE", str(kept))
    first: Any = Commands()
    python = environments.harness_environment(first)
    assert first.made() == 1
    assert python.is_relative_to(kept)
    assert (checkout / ".nox" / "harness" / "bin" / "python").resolve() == python.resolve()
    second: Any = Commands()
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path_factory.mktemp("another") / ".nox")
    assert environments.harness_environment(second) == python
    assert not second.ran
    # Other locks are other environments, and what nobody used for a month goes.
    long_ago = time.time() - UNUSED_S - 60
    os.utime(python.parents[2], (long_ago, long_ago))
    with (checkout / "requirements" / "dev.lock").open("a") as lock:
        lock.write("# changed\n")
    third: Any = Commands()
    another = environments.harness_environment(third)
    assert third.made() == 1
    assert (another.exists(), python.exists()) == (True, False)


def test_a_checkout_keeps_its_own_environments_and_gets_them_back(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = str(tmp_path_factory.mktemp("kept"))
    own, shared, again = (Commands() for _ in range(3))
    sessions: list[Any] = [own, shared, again]
    environments.harness_environment(sessions[0])
    monkeypatch.setenv("HARNESS_CACHE", kept)
    assert environments.harness_environment(sessions[1]) == checkout / ".nox" / "harness" / "bin" / "python"
    assert not shared.ran
    environments.server_cpu_environment(sessions[1])
    assert (checkout / ".nox" / "server-cpu").is_symlink()
    monkeypatch.delenv("HARNESS_CACHE")
    assert environments.server_cpu_environment(sessions[2]) == checkout / ".nox" / "server-cpu" / "bin" / "python"
    assert not (checkout / ".nox" / "server-cpu").is_symlink()
    assert again.made() == 1


def test_what_leads_to_a_checkouts_own_server_is_not_shared(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path_factory.mktemp("kept")
    sessions: list[Any] = [Commands(), Commands()]
    environments.server_cpu_environment(sessions[0])
    monkeypatch.setenv("HARNESS_CACHE", str(kept))
    release = environments.older_releases()[0]
    python = environments.release_environment(sessions[1], release)
    assert python == checkout / ".nox" / f"sglang-{release}" / "bin" / "python"
    assert not list(kept.iterdir())


def test_a_cache_that_can_only_be_read_holds_no_environments(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", "/proc/nothing/can/be/made/here")
    session: Any = Commands()
    assert environments.harness_environment(session) == checkout / ".nox" / "harness" / "bin" / "python"


def test_a_plugin_is_named_by_its_contents_and_never_touched_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Any = Commands()
    environments.prepare_plugin(session)
    first = environments.plugin_folder()
    (first / "read by a server").touch()
    ran = len(session.ran)
    environments.prepare_plugin(session)
    assert len(session.ran) == ran
    with (checkout / "harness" / "collective" / "codec.py").open("a") as out:
        out.write("# changed\n")
    # Not within one session, both of whose arms are to load the same.
    assert environments.plugin_folder() == first
    environments.plugin_folder.cache_clear()
    environments.prepare_plugin(session)
    second = environments.plugin_folder()
    assert second != first
    assert (second / "harness").exists()
    assert (first / "read by a server").exists()
    # Both are used now; a month later a third is made, and the first was used yesterday.
    long_ago = time.time() - UNUSED_S - 60
    os.utime(first, (long_ago, long_ago))
    os.utime(second, (long_ago, long_ago))
    for folder in (first, first.with_name("another")):
        with monkeypatch.context() as patch:
            patch.setattr(environments, "plugin_folder", lambda folder=folder: folder)
            environments.prepare_plugin(session)
    assert (first.exists(), second.exists()) == (True, False)


HOLDER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
import environments
import noxfile
environments.ENVIRONMENTS = Path(sys.argv[1])
with environments.alone(SimpleNamespace(log=print)):
    with open(sys.argv[2], "a") as out:
        for word in ("in", "out"):
            out.write(word + "\\n")
            out.flush()
            time.sleep(0.2)
"""


def test_of_several_sessions_one_makes_what_all_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    log = tmp_path / "log"
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".nox"), str(log)]
    holders = [subprocess.Popen(command, cwd=environments.ROOT, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [holder.wait(120) for holder in holders] == [0] * 4
    assert log.read_text().split() == ["in", "out"] * 4


def test_a_release_that_nobody_knows_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "server_cpu_environment", lambda _: Path("/server-cpu/python"))
    session: Any = Commands()
    with pytest.raises(SystemExit) as end:
        environments.release_environment(session, "0.5.10")
    assert end.value.code == environments.ERROR
    assert session.logged[0].startswith("there is no SGLang 0.5.10: there are 0.5.11, 0.5.12, ")
    assert environments.release_environment(session, environments.newest_release()) == Path("/server-cpu/python")
