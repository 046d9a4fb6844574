"""What a fault server does to the processes above it and to their files: it knows the exact moment."""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

RUN_FOLDER_MODE = 0o500


@dataclass(frozen=True, kw_only=True)
class Family:
    """A server's processes, by their ids.

    Attributes:
        server: The server's.
        guard: Its guard's.
        harness: The harness's.
    """

    server: int
    guard: int
    harness: int

    @classmethod
    def mine(cls) -> "Family":
        """Return this process's: its parent is the guard, whose parent is the harness."""
        guard = psutil.Process(os.getppid())
        return cls(server=os.getpid(), guard=guard.pid, harness=guard.ppid())

    def key_is_seen(self, key: str | None) -> bool:
        """Return whether a key stands in one of their command lines, which every user of the machine can read."""
        lines = [Path(f"/proc/{process}/cmdline").read_bytes() for process in (self.server, self.guard, self.harness)]
        return key is not None and any(key.encode() in line for line in lines)


def _send(which: str, number: signal.Signals) -> Callable[[Family], None]:
    return lambda family: os.kill(getattr(family, which), number)


def _twice(family: Family) -> None:
    os.kill(family.harness, signal.SIGINT)
    time.sleep(0.3)
    os.kill(family.harness, signal.SIGINT)


def _fill_disk(which: str) -> Callable[[Family], None]:
    """Return what lets a process write not one more byte to any file, as on a disk that is full."""

    def fill(family: Family) -> None:
        process = getattr(family, which)
        _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (0, hard))

    return fill


def _run_folder() -> Path:
    return Path(os.environ["HARNESS_PLUGIN_DIR"]).parents[1]


def _lock(_family: Family) -> None:
    for folder in (_run_folder(), *(path for path in _run_folder().iterdir() if path.is_dir())):
        folder.chmod(RUN_FOLDER_MODE)


def _lose_folder(_family: Family) -> None:
    _run_folder().rename(_run_folder().with_name("moved-away"))


ACTIONS: dict[str, Callable[[Family], None]] = {
    "kills-harness": _send("harness", signal.SIGKILL),
    "kills-guard": _send("guard", signal.SIGKILL),
    "kills-itself": _send("server", signal.SIGKILL),
    "stops-itself": _send("server", signal.SIGSTOP),
    "terminates-harness": _send("harness", signal.SIGTERM),
    "terminates-guard": _send("guard", signal.SIGTERM),
    "hangs-up-harness": _send("harness", signal.SIGHUP),
    "interrupts-harness": _send("harness", signal.SIGINT),
    "interrupts-harness-twice": _twice,
    "fills-disk-of-harness": _fill_disk("harness"),
    "fills-disk-of-guard": _fill_disk("guard"),
    "fills-disk-of-server": _fill_disk("server"),
    "locks-run-folder": _lock,
    "moves-run-folder": _lose_folder,
}
