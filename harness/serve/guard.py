"""Runs one command and outlives nothing: when the harness goes, in whatever way, the command's whole tree goes.

    python -m harness.serve.guard --log FILE -- COMMAND ...

SGLang's server is a tree of processes, and killing its root leaves the rest behind, holding ports, memory
and devices. The guard sits between: it holds the reading end of a pipe whose writing end is the harness's
alone, so the kernel tells it when the harness ends, by Ctrl-C, crash or SIGKILL. It is the tree's
sub-reaper, so that processes whose parent died stay its descendants and are found. Nor do files stay where other
programs have theirs: the tree has a folder of its own for temporary ones, and of its shared memory, which SGLang
leaves behind, whatever was mapped at the end is removed, but for what was there before the tree.
"""

import argparse
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

POLL_S = 0.2
ASKED_GRACE_S = 10.0
KILL_GRACE_S = 10.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - nothing is made there
# A socket's path has at most 107 letters, of which the folder and SGLang's name of the socket take up to 37.
LONGEST = 70
SHORT = Path("/tmp")  # noqa: S108 - a folder of our own is made there
# torch keeps compiled kernels beside its temporary files, for the next time.
COMPILED = "TORCHINDUCTOR_CACHE_DIR"
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run the command; return its exit code, or 0 where the guard ended it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="file for the command's output")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    # A signal to the guard means the same as the harness's end; the pipe is closed to say so.
    wake_read, wake_write = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(wake_write, b"x"))
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guard = os.getpid()

    def end_with_guard() -> None:
        """Have the kernel kill the command if the guard is killed, which could end nothing any more."""
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)

    others = shared_memory()
    with arguments.log.open("ab") as log, _own_folder() as temporary:
        compiled = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
        process = subprocess.Popen(
            arguments.command,
            # After the others: processes that rename themselves find their arguments by the first one, as it was.
            env={**os.environ, COMPILED: os.environ.get(COMPILED, str(compiled)), "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_guard,  # noqa: PLW1509 - the guard has one thread
        )
        try:
            while process.poll() is None:
                if select.select([sys.stdin.fileno(), wake_read], [], [], POLL_S)[0]:
                    break
        finally:
            code = process.poll()
            end_descendants(process, keep=others)
    return 0 if code is None else code if code >= 0 else 128 - code


def _own_folder() -> tempfile.TemporaryDirectory[str]:
    # One that the kernel alone can end may still write there.
    return tempfile.TemporaryDirectory(prefix=_named(os.getpid()), dir=_place(), ignore_cleanup_errors=True)


def remove_folder(guard: int) -> None:
    """Remove the folder for temporary files of a guard that was killed and could not do so itself."""
    for folder in _place().glob(f"{_named(guard)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _named(guard: int) -> str:
    return f"harness-{guard}-"


def _place() -> Path:
    usual = Path(tempfile.gettempdir())
    return SHORT if len(str(usual)) > LONGEST and os.access(SHORT, os.W_OK) else usual


def end_descendants(root: subprocess.Popen[bytes], *, keep: set[Path]) -> None:
    """End every descendant of this process: ask first, then kill until none is left.

    Args:
        root: The command, asked first so that it can end its own children in its own order. As by Ctrl-C: at SIGTERM
            SGLang looks every five seconds.
        keep: Shared memory that is others'.
    """
    me = psutil.Process()
    maps = "".join(_maps(process) for process in me.children(recursive=True))
    own = [file for file in shared_memory() - keep if f" {file}\n" in maps]
    if root.poll() is None:
        root.send_signal(signal.SIGINT)
        try:
            root.wait(ASKED_GRACE_S)
        except subprocess.TimeoutExpired:
            root.kill()
            root.wait()
    while left := me.children(recursive=True):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        gone, _alive = psutil.wait_procs(left, timeout=KILL_GRACE_S)
        if not gone:
            # Only the kernel can hold a killed process; saying so beats waiting for ever.
            sys.stderr.write(f"these processes could not be ended: {[process.pid for process in left]}\n")
            return
    for file in own:
        with suppress(OSError):
            file.unlink()


def shared_memory() -> set[Path]:
    """Return the files of shared memory that there are."""
    return set(SHARED_MEMORY.iterdir()) if SHARED_MEMORY.is_dir() else set()


def _maps(process: psutil.Process) -> str:
    """Return what a process has mapped, a line each that ends in the file's path; nothing of one that is gone."""
    try:
        return Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
