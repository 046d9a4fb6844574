"""The environments of noxfile.py's sessions, made once: what installs there, and what runs there."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nox
from nox.command import CommandFailed

from harness import malloc
from harness.places import cache as cache_folder
from harness.prepare.unused import note_use
from pip_settings import in_words_of_uv, pip_settings

ROOT = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT / ".nox"
REQUIREMENTS = ROOT / "requirements"
PLUGINS = ENVIRONMENTS / "plugin"
# The folder's name in the cache.
SHARED = "environments"
CPU_SHIMS = ROOT / "harness" / "serve" / "cpu_shims"
# SGLang's releases that `--sglang` and `compat` know beside the newest, each a few packages over the CPU server's.
RELEASES = REQUIREMENTS / "sglang"
# The harness ends its servers in order when it is interrupted; nox would kill it after half a second.
GRACE_S = 90.0
# lm-eval needs them, and they come as source alone.
SOURCES = ("--no-binary=sqlitedict", "--no-binary=rouge-score", "--no-binary=word2number")
PIP_INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
# uv takes seconds where pip takes a minute, and links what another checkout has fetched. It reads none of pip's
# settings.
UV_INSTALL = ("-m", "uv", "pip", "install", "--quiet", "--index-strategy=unsafe-best-match")
# Compiling all 33,000 modules takes a minute and more of two cores, a fifth of them are ever imported, and Python
# keeps what it compiles; where it may not, each start would compile them again.
UV_COMPILE = ("--compile-bytecode",)
PASS, ERROR = 0, 3


def harness_environment(session: nox.Session, *, dev: bool = False, beside: str | None = None) -> Path:
    """Return the interpreter of the harness's own environment, made on first use; another with `beside` in it."""
    with alone(session):
        python = environment(session, beside or "harness")
        install(session, python, "harness.txt", *SOURCES)
        if beside is not None:
            install(session, python, f"{beside}.txt")
        if dev:
            install(session, python, "dev.txt")
    return python


def fleet_environment(session: nox.Session, *, dev: bool = False) -> Path:
    """Return the interpreter of the harness's environment with Ray in it, made on first use."""
    return harness_environment(session, dev=dev, beside="fleet")


def server_cpu_environment(session: nox.Session) -> Path:
    """Return the interpreter of SGLang's CPU environment, made on first use."""
    with alone(session):
        python = environment(session, "server-cpu")
        install(session, python, "server-cpu.txt")
        if install(session, python, "torch.txt", hashed=False):
            which = "import torch; print(f'installed: torch {torch.__version__}, its CUDA: {torch.version.cuda}')"
            must_run(session, python, "-c", which)
        install(session, python, "server-cpu-nodeps.txt")
    return python


def newest_release() -> str:
    """Return the release of SGLang in the CPU server's own environment."""
    return (REQUIREMENTS / "server-cpu-nodeps.txt").read_text(encoding="utf-8").strip().removeprefix("sglang==")


def older_releases() -> list[str]:
    """Return the other releases that there are environments for, the oldest first."""
    return sorted((file.stem for file in RELEASES.glob("*.txt")), key=lambda name: [int(n) for n in name.split(".")])


def release_environment(session: nox.Session, release: str) -> Path:
    """Return the interpreter of a release of SGLang on the CPU, made on first use.

    It holds SGLang and the few packages whose release must be SGLang's own; all others, torch among them, are the
    CPU server's, which its path leads to after its own.
    """
    base = server_cpu_environment(session)
    if release == newest_release():
        return base
    if release not in older_releases():
        session.log(f"there is no SGLang {release}: there are {', '.join((*older_releases(), newest_release()))}")
        end_with(ERROR)
    with alone(session):
        python = environment(session, f"sglang-{release}")
        # pip sees the CPU server's packages too, and must not take them for its own.
        install(session, python, f"sglang/{release}.txt", "--ignore-installed")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        others = base.parent.parent / "lib" / version / "site-packages"
        own = python.parent.parent / "lib" / version / "site-packages"
        (own / "server-cpu.pth").write_text(f"{others}\n")
    return python


def environment(session: nox.Session, name: str) -> Path:
    """Return the interpreter of the virtual environment NAME, made if it is not there, or is half made.

    It is .nox/NAME, or that leads to where checkouts share it.
    """
    own = ENVIRONMENTS / name
    if own.is_symlink() and own.readlink().parent.parent.name == SHARED:
        own.unlink()
    folder = own if own.exists() else environments_folder() / name
    if folder != own:
        own.symlink_to(folder, target_is_directory=True)
    python = folder / "bin" / "python"
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if mark_of(folder).exists() or not python.exists() or not packages.exists():
        shutil.rmtree(folder, ignore_errors=True)
        with unfinished(folder):
            must_run(session, Path(sys.executable), "-m", "venv", str(folder))
    return python


def environments_folder() -> Path:
    """Return where environments are made: .nox, or what checkouts with the same locks and Python share.

    That is in the folder that HARNESS_CACHE names, unless it can be read only, or this checkout has its own already.
    """
    own = ENVIRONMENTS / "server-cpu"
    # What leads to another environment, as a release's does, would lead all who share it to this checkout's own.
    if not os.environ.get("HARNESS_CACHE") or (own.exists() and not own.is_symlink()):
        return ENVIRONMENTS
    files = (file for file in REQUIREMENTS.rglob("*") if file.is_file())
    folder = cache_folder() / SHARED / name_of(f"{sys.version} {sys.base_prefix}\n".encode(), files)
    note_use(folder, "?" * 16)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else ENVIRONMENTS


def name_of(first: bytes, files: Iterable[Path]) -> str:
    """Return a name made of some bytes and of files of this checkout, their places in it and contents."""
    whole = hashlib.sha256(first)
    for file in sorted(files):
        whole.update(f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


@contextmanager
def alone(session: nox.Session) -> Iterator[None]:
    """Hold a lock: of several sessions at once, one makes what all of them use."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (environments_folder() / ".lock").open("w") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            session.log("waiting for another nox, which is making the environments")
            fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield


def mark_of(folder: Path) -> Path:
    """Return the file that is there as long as a folder is being made; it outlives whoever made it."""
    return folder.with_name(f".{folder.name}.unfinished")


@contextmanager
def unfinished(folder: Path) -> Iterator[None]:
    """Mark a folder while something is installed into it: one that is found with its mark is made anew."""
    mark_of(folder).touch()
    yield
    mark_of(folder).unlink()


def install(
    session: nox.Session,
    python: Path,
    requirements: str,
    *options: str,
    target: Path | None = None,
    hashed: bool = True,
) -> bool:
    """Install what a file of requirements is locked to, unless that is installed already; return whether it was."""
    file = REQUIREMENTS / requirements
    if hashed:
        file = file.with_name(f"{file.stem}.lock")
        # The lock has all there is to install.
        options = ("--require-hashes", "--no-deps", "--only-binary=:all:", *options)
    stamp = (target or python.parent.parent) / f".installed-{Path(requirements).name}"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return False
    where = [f"--target={target}", "--upgrade"] if target else []
    with unfinished(stamp.parent):
        fetch(session, python, *where, *options, "-r", str(file))
        stamp.write_text(digest)
    return True


def fetch(session: nox.Session, python: Path, *arguments: str) -> None:
    """Install with uv, told what pip is told; with pip where nox's own environment has no uv, or uv cannot do it."""
    if find_spec("uv") is not None:
        settings = pip_settings(str(must_run(session, python, "-m", "pip", "config", "list", silent=True)))
        if "--require-hashes" in arguments:
            # What is locked needs no constraint, and uv would want hashes of it.
            settings.pop("constraint", None)
        options, env = in_words_of_uv(settings)
        # It sees an environment's own packages alone, and does not know pip's word for it.
        known = (argument for argument in arguments if argument != "--ignore-installed")
        compiled = UV_COMPILE if os.environ.get("PYTHONDONTWRITEBYTECODE") else ()
        uv = (*UV_INSTALL, *compiled, f"--python={python}", *options, *known)
        if run(session, Path(sys.executable), *uv, env=env) == PASS:
            return
        session.log("uv could not install these: pip tries it")
    must_run(session, python, *PIP_INSTALL, *arguments)


def prepare_plugin(session: nox.Session) -> None:
    """Install this project alone into the folder that carries SGLang's plugin to any interpreter, unless it is there.

    It is named by its contents and never touched again: a server that runs may still read it.
    """
    folder = plugin_folder()
    python = harness_environment(session)
    with alone(session):
        # Noted for those after us: a server that runs reads it.
        note_use(folder, "?" * 16)
        if folder.exists():
            return
        # setuptools copies whatever an earlier build left there, deleted modules included. And metadata left here
        # would make the plugin look installed to every Python that is started in this folder.
        left_by_build = (ROOT / "build", ROOT / "tp_compression_harness.egg-info")
        partial = folder.with_name(f".{folder.name}.partial")
        for left in (*left_by_build, partial):
            shutil.rmtree(left, ignore_errors=True)
        must_run(session, python, *PIP_INSTALL, "--no-deps", "--no-build-isolation", f"--target={partial}", str(ROOT))
        for left in left_by_build:
            shutil.rmtree(left, ignore_errors=True)
        partial.rename(folder)


@cache
def plugin_folder() -> Path:
    """Return .nox/plugin/HASH, of the hash that the package has when it is first asked for."""
    return PLUGINS / name_of((ROOT / "pyproject.toml").read_bytes(), (ROOT / "harness").rglob("*.py"))


def pytest_for(session: nox.Session, python: Path) -> Path:
    """Return a folder that holds pytest for somebody else's interpreter, whose packages stay as they are."""
    tools = ENVIRONMENTS / "pytest-tools"
    with alone(session):
        if mark_of(tools).exists():
            shutil.rmtree(tools, ignore_errors=True)
        install(session, python, "pytest-tools.txt", target=tools)
    return tools


def harness_env(server: Path) -> dict[str, str]:
    """Return the variables by which the harness finds SGLang's interpreter and the plugin."""
    return {"HARNESS_SERVER_PYTHON": str(server), "HARNESS_PLUGIN_PATH": str(plugin_folder())}


def server_env() -> dict[str, str]:
    """Return the environment in which the CPU server's interpreter imports SGLang and this project."""
    return {"PYTHONPATH": path_of(CPU_SHIMS, ROOT), "SGLANG_USE_CPU_ENGINE": "1", **malloc.KEPT}


def path_of(*folders: Path) -> str:
    """Return a PYTHONPATH of these folders before the user's own: an implementation under test may be there."""
    own = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    return os.pathsep.join((*map(str, folders), *own))


def run(session: nox.Session, python: Path, *arguments: str, env: dict[str, str] | None = None) -> int:
    """Run a Python and return its exit code instead of failing on it."""
    try:
        session.run(
            str(python),
            *arguments,
            env=env,
            external=True,
            interrupt_timeout=GRACE_S,
            terminate_timeout=GRACE_S,
        )
    except CommandFailed as failed:
        # Without a code it could not even be started.
        return failed.return_code or ERROR
    return PASS


def must_run(session: nox.Session, python: Path, *arguments: str, silent: bool = False) -> object:
    """Run a Python without which nothing can be measured: where it fails, nox ends with ERROR and not with FAIL."""
    try:
        return session.run(str(python), *arguments, silent=silent, external=True)
    except CommandFailed as failed:
        session.log(f"ERROR: what is to be measured cannot be made ready: {failed}")
        raise SystemExit(ERROR) from failed


def end_with(code: int) -> None:
    """End nox with `code` where it is not 0: nox itself would make each failure a 1."""
    if code:
        raise SystemExit(code)
