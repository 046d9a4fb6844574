"""A server's command: run under a guard, and ended with all it started."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.plan.plan import Arm
from harness.serve.guard import remove_folder
from harness.serve.log_excerpt import KEY_BYTES
from harness.serve.ports import check_port_free, free_port
from harness.sglang_plugin.settings import PREFIX

# The guard asks the tree to end, waits, and kills; this is longer than all of that.
END_TIMEOUT_S = 45.0
# What a server's processes have in their environment, and no others.
MARK = f"{PREFIX}DIR"
# SGLang's processes rename themselves, which without this overwrites what the kernel shows of their environment.
KEEPS_ENVIRONMENT = {"SPT_NOENV": "1"}


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A server whose command runs.

    Attributes:
        port: Where it will answer.
        key: Its key.
        key_file: What tells it the key.
        go: What holds it back as long as it is not there, if its device lets it be held back. See
            harness.sglang_plugin.forked_ranks.
        process: Its guard.
    """

    port: int
    key: str
    key_file: Path
    go: Path
    process: subprocess.Popen[bytes] = field(repr=False)


@contextmanager
def begun(arm: Arm, log: Path, *, port: int | None = None, held: bool = False) -> Iterator[Begun]:
    """Run one arm's command, and end it with all it started, whatever happens inside.

    Args:
        arm: The arm.
        log: The file of its output.
        port: A fixed port, or None for a free one.
        held: Whether it waits before it starts its ranks until `served` lets it go.

    Raises:
        HarnessError: Its port is taken.
        OSError: Its folder cannot be written.
    """
    port = port or free_port()
    check_port_free(port)
    key, key_file, go = secrets.token_hex(KEY_BYTES), log.with_name("server-key.yaml"), log.with_name("go")
    write_key(key_file, key)
    go.unlink(missing_ok=True)
    # The guard's own words belong with the server's.
    with log.open("ab") as words:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "harness.serve.guard",
                f"--log={log}",
                "--",
                *arm.command(port=port, key_file=key_file),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env=arm.environment() | KEEPS_ENVIRONMENT | ({f"{PREFIX}GO": str(go)} if held else {}),
            # Ctrl-C in the terminal must reach the harness alone, which then ends the server in order.
            start_new_session=True,
        )
    try:
        yield Begun(port=port, key=key, key_file=key_file, go=go, process=process)
    finally:
        end(process)
        key_file.unlink(missing_ok=True)
        go.unlink(missing_ok=True)
        if process.returncode < 0:
            end_left_behind(arm)
            remove_folder(process.pid)


def end_left_behind(arm: Arm) -> None:
    """End what there still is of an arm's server, told by where its plugin writes, and wait until it is gone.

    Of a killed guard's tree the kernel ends the command alone. And a killed harness's guard takes a moment to end
    the server, which must not add to its logs when the run goes on.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == arm.engagement:
                process.kill()
                found.append(process)
    psutil.wait_procs(found, timeout=END_TIMEOUT_S)
    # One of them may have been the guard.
    for process in found:
        remove_folder(process.pid)


def write_key(file: Path, key: str) -> None:
    """Write the file of SGLang's arguments that holds the key, for this user's eyes alone.

    Raises:
        OSError: It cannot be written.
    """
    # One that an interrupted start left may be a link by now.
    file.unlink(missing_ok=True)
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w") as out:
        out.write(f'api-key: "{key}"\n')


def end(process: subprocess.Popen[bytes]) -> None:
    """End a guarded server: closing the guard's pipe says so; it ends the tree and then itself."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
