"""What a task does on its host: an arm, or a part of a study, runs in a folder and processes of its own.

Its files go back. Knows nothing of Ray. The host has this checkout, model, data and interpreter in the places that
the plan names.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.fleet.relocate import relocate
from harness.places import ROOT
from harness.plan.plan import Plan
from harness.records.arm_end import DIED, ENDED, ArmEnd
from harness.records.run import read_record, write_record
from harness.records.run_folder import RunFolder
from harness.study.plan import StudyPlan

# A folder's files by their place in it.
Files = dict[str, bytes]
ARM_COMMAND = ("-m", "harness", "arm")
POLL_S = 1.0
LOG_END = 4000
# Ray sets it in each worker: a server would start with other threads than it has without Ray.
SET_BY_RAY = "OMP_NUM_THREADS"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One task to be done.

    Attributes:
        key: What it is called.
        plan: The plan that it is of, in whatever folder.
        fingerprint: The fingerprint that the host must have, as its file holds it; None for any host.
        command: The interpreter's arguments that do it, before the folder.
    """

    key: str
    plan: Plan | StudyPlan
    fingerprint: bytes | None = None
    command: Sequence[str]

    @property
    def options(self) -> Sequence[str]:
        """The interpreter's arguments behind the folder."""
        return ()


@dataclass(frozen=True, kw_only=True)
class ArmOrder(Order):
    """One arm to be run.

    Attributes:
        arm: The arm's name in the plan.
        before: Seconds that the run's earlier arms took.
    """

    arm: str
    before: float = 0.0

    @property
    def options(self) -> Sequence[str]:
        """Which arm, and when."""
        return (f"--arm={self.arm}", f"--before={self.before}")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What came of an order.

    Attributes:
        host: The host's name.
        node: What Ray calls it.
        end: How the task ended.
        files: What it left: the arms that it was given are not among it.
    """

    host: str
    node: str
    end: ArmEnd
    files: Files


def carry_out(order: Order, earlier: Sequence[Files], *, node: str, tell: Callable[[str], None]) -> Delivery:
    """Do a task and return what it left; nothing of it stays in the folder that the host had for it.

    Args:
        order: The task.
        earlier: The folders of the run's earlier arms, each under its arm's name: predictions are compared with the
            baseline's states, and the baseline again is asked what the compressed arm was.
        node: What Ray calls this host.
        tell: Called with what the task says last, at most once a second.

    Raises:
        OSError: The host has no room for its files.
    """
    with tempfile.TemporaryDirectory(prefix="harness-fleet-") as place:
        folder = RunFolder(Path(place) / order.plan.run_id)
        folder.path.mkdir(mode=0o700)
        plan = relocate(order.plan, folder.path)
        write_record(folder.plan, plan)
        for files in earlier:
            unpack(files, folder.path)
        if order.fingerprint is not None:
            folder.fingerprint.write_bytes(order.fingerprint)
        log = Path(place) / "task.log"
        code = _guarded(order, folder.path, log, tell)
        try:
            end = read_record(folder.path / ENDED, ArmEnd)
        except HarnessError:
            said = _end_of(log)
            error = f"the task's process ended with exit code {code}\n{said}"
            end = ArmEnd(outcome=DIED, error=error, seconds=0.0, versions={})
        for files in earlier:
            for name in {Path(name).parts[0] for name in files}:
                shutil.rmtree(folder.path / name, ignore_errors=True)
        return Delivery(host=socket.gethostname(), node=node, end=end, files=pack(folder.path))


def _guarded(order: Order, folder: Path, log: Path, tell: Callable[[str], None]) -> int:
    """Run the task's process, which does not outlive this one, and return its exit code."""
    task = [sys.executable, *order.command, str(folder), *order.options]
    guard = [sys.executable, "-m", "harness.serve.guard", f"--log={log}", "--", *task]
    with log.open("ab") as words:
        process = subprocess.Popen(
            guard, cwd=ROOT, env=host_environment(), stdin=subprocess.PIPE, stdout=words, stderr=words
        )
    said = ""
    try:
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if (last := _end_of(log).rpartition("\n")[2]) != said:
                    tell(said := last)
    finally:
        # The guard ends the tree when its pipe is closed, as the kernel does where this process is killed.
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def host_environment(
    now: Mapping[str, str] | None = None, at_start: Path = Path("/proc/self/environ")
) -> dict[str, str]:
    """Return the host's own environment with the devices that Ray made visible, without the threads that it sets.

    Args:
        now: This process's variables; None for what they are.
        at_start: The file of those that it was started with.
    """
    environment = dict(os.environ if now is None else now)
    started_with = {entry.partition(b"=")[0].decode() for entry in at_start.read_bytes().split(b"\0")}
    if SET_BY_RAY not in started_with:
        environment.pop(SET_BY_RAY, None)
    return environment


def pack(folder: Path) -> Files:
    """Return a folder's files."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def unpack(files: Files, folder: Path) -> None:
    """Write files into a folder.

    Raises:
        OSError: They cannot be written.
    """
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _end_of(log: Path) -> str:
    try:
        return log.read_bytes()[-LOG_END:].decode(errors="replace").strip()
    except OSError:
        return ""
