"""The guard, with real processes: nothing survives, however the harness or the command ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.serve.guard import remove_folder

# A tree: the command, a child, and a grandchild in a session of its own whose parent is gone.
TREE = """
import os, subprocess, sys, time
open(sys.argv[1] + '/root', 'w').write(str(os.getpid()))
child = "import os, sys, time; open(sys.argv[1] + '/child', 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.Popen([sys.executable, '-c', child, sys.argv[1]])
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    open(sys.argv[1] + '/orphan', 'w').write(str(os.getpid()))
    time.sleep(600)
time.sleep(600)
"""
NAMES = ("root", "child", "orphan")


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def start(folder: Path, script: str = TREE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness.serve.guard", f"--log={folder / 'log'}", "--"]
    return subprocess.Popen(
        [*command, sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )


def pids(folder: Path) -> list[int]:
    until(lambda: all((folder / name).exists() and (folder / name).read_text() for name in NAMES))
    return [int((folder / name).read_text()) for name in NAMES]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_gone(tree: list[int]) -> bool:
    return not any(is_running(pid) for pid in tree)


def test_closing_the_pipe_ends_the_whole_tree(tmp_path: Path) -> None:
    guard = start(tmp_path)
    tree = pids(tmp_path)
    assert guard.stdin is not None
    guard.stdin.close()
    assert guard.wait(30) == 0
    assert all_gone(tree)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guard_ends_the_whole_tree(tmp_path: Path, number: int) -> None:
    guard = start(tmp_path)
    tree = pids(tmp_path)
    os.kill(guard.pid, number)
    guard.wait(30)
    assert all_gone(tree)
    assert guard.stdin is not None
    guard.stdin.close()


def test_the_kernel_ends_the_command_when_the_guard_is_killed(tmp_path: Path) -> None:
    """The harness ends the rest: see test_server.py."""
    guard = start(tmp_path)
    root, *others = pids(tmp_path)
    guard.kill()
    guard.wait(10)
    until(lambda: not is_running(root))
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    remove_folder(guard.pid)
    assert guard.stdin is not None
    guard.stdin.close()


def test_the_tree_ends_when_the_harness_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the harness no moment to clean up: only the kernel's closing of the pipe tells the guard."""
    harness = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, '-m', 'harness.serve.guard', '--log={tmp_path / 'log'}', '--']\n"
        f"script = {TREE!r}\n"
        f"p = subprocess.Popen([*command, sys.executable, '-c', script, {str(tmp_path)!r}],\n"
        "                     stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", harness])
    tree = pids(tmp_path)
    process.kill()
    process.wait(10)
    until(lambda: all_gone(tree), 30)


def test_the_rest_of_the_tree_ends_when_the_command_dies_and_its_exit_code_is_passed_on(
    tmp_path: Path,
) -> None:
    guard = start(tmp_path)
    tree = pids(tmp_path)
    os.kill(tree[0], signal.SIGKILL)
    assert guard.wait(30) == 128 + signal.SIGKILL
    assert all_gone(tree)
    assert guard.stdin is not None
    guard.stdin.close()


def test_neither_temporary_files_nor_shared_memory_stay(tmp_path: Path) -> None:
    leaves = """
import os, sys, tempfile, time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
# Nobody cleans up after it, as after a process that is killed.
resource_tracker.register = lambda *_: None
memory = SharedMemory(create=True, size=4096)
socket = tempfile.NamedTemporaryFile(delete=False)
open(sys.argv[1] + '/left', 'w').write(socket.name + ' /dev/shm/' + memory.name)
time.sleep(600)
"""
    guard = start(tmp_path, leaves)
    until(lambda: (tmp_path / "left").exists() and len((tmp_path / "left").read_text().split()) == 2)
    left = [Path(name) for name in (tmp_path / "left").read_text().split()]
    assert all(file.exists() for file in left)
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(30)
    assert not any(file.exists() for file in (*left, left[0].parent))


def test_there_is_room_for_a_socket_however_long_the_usual_folders_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / ("long" * 20)
    usual.mkdir()
    monkeypatch.setenv("TMPDIR", str(usual))
    script = """
import socket, sys, tempfile
socket.socket(socket.AF_UNIX).bind(tempfile.mktemp())
print(tempfile.gettempdir())
"""
    guard = start(tmp_path, script)
    assert guard.wait(20) == 0, (tmp_path / "log").read_text()
    assert not Path((tmp_path / "log").read_text().strip()).exists()
    assert guard.stdin is not None
    guard.stdin.close()


def test_the_commands_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    guard = start(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(5)")
    assert guard.wait(20) == 5
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]
    assert guard.stdin is not None
    guard.stdin.close()
