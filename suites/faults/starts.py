"""How a server starts, or does not."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

from suites.faults.replies import FOR_EVER_S


def _die(text: str, code: int = 3) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
    sys.exit(code)


def _hold_port() -> None:
    # As uvicorn words it; SGLang's other processes then keep it from ending.
    sys.stdout.write("ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 1)\n")
    sys.stdout.flush()
    time.sleep(FOR_EVER_S)


def _leave_orphan() -> None:
    # A grandchild in a session of its own, whose parent is gone: the process group alone would miss it.
    script = "import os, time; os.fork() or (os.setsid(), time.sleep(600))"
    subprocess.run([sys.executable, "-c", script], check=True)


def _flood() -> None:
    sys.stdout.write("::error::not a word of SGLang's\n\x1b[31mred\x1b]0;title\x07\x00\n" * 200_000)


def _ignore(*signals: int) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


AT_START: dict[str, Callable[[], None]] = {
    "dies-at-once": lambda: _die("loading weights\nRuntimeError: no such weights\n"),
    "dies-with-control-characters": lambda: _die("\x1b[31m::error::\x1b]0;t\x07 no\r\n::error::such weights\x00\n"),
    "dies-with-code-0": lambda: _die("nothing to do\n", 0),
    "port-taken": _hold_port,
    "leaves-orphans": _leave_orphan,
    "ignores-signals": lambda: _ignore(signal.SIGINT, signal.SIGTERM),
    "floods-its-log": _flood,
    "starts-late": lambda: time.sleep(2),
    "starts-never": lambda: time.sleep(FOR_EVER_S),
}
