"""What a fleet leaves on disk beside its runs, and where: its plan, each attempt, each arm, what came of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.fleet.on_host import Delivery, Files, pack, unpack
from harness.places import ROOT
from harness.plan.plan import Plan
from harness.prepare.whole_folder import partial_folder
from harness.records.arm_end import ENDED, ArmEnd
from harness.records.run import read_lines, read_record, write_lines, write_record
from harness.strict import Positive, Strict


class Needs(Strict):
    """What a host must have free for one task, in Ray's terms.

    Attributes:
        cpus: Of Ray's CPUs: the harness's own share.
        gpus: NVIDIA GPUs.
        memory_gib: Memory.
        resources: Every other resource by its name: `NPU`, `harness_cpu_server`, `model:NAME`.
    """

    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_gib: Annotated[float, Field(ge=0)] = 0.0
    resources: dict[str, float] = Field(default_factory=dict)

    @property
    def by_name(self) -> dict[str, float]:
        """The same as a host's resources are counted, memory in bytes."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_gib * 2**30, **self.resources}
        return {name: count for name, count in named.items() if count}


class FleetRun(Strict):
    """One run of a fleet.

    Attributes:
        plan: What it does; its arms go to hosts.
        compression: Its codec or policy in a word, for people.
        release: The release of SGLang, or the interpreter, in a word.
        priority: Runs of a higher one come first.
        same_host: Whether all its arms run on one host.
        shards: Among how many servers each arm's questions are divided.
        needs: What a host must have for each arm.
        baseline: The key of its baseline: runs that share it share the arm.
    """

    plan: Plan
    compression: str
    release: str
    priority: int = 0
    same_host: bool = True
    shards: Positive = 1
    needs: Needs
    baseline: str


class FleetPlan(Strict):
    """What a fleet is to do.

    Attributes:
        fleet_id: Its name, and its folder's.
        started: ISO time, UTC.
        matrix: The file that it was planned from.
        runs: The runs, in the order that the matrix has them.
    """

    fleet_id: str
    started: str
    matrix: str
    runs: list[FleetRun]


class Attempt(Strict):
    """One start of a task somewhere: a line when it is given to Ray, another when it ended.

    Attributes:
        task: The arm's key in the fleet, or the part of a study.
        number: Counted from 1.
        why: Why there is a second attempt or a later one; empty for the first.
        host: Where it was; empty as long as that is not known.
        began: ISO time, UTC.
        ended: The same; empty for one that has not ended.
        error: What ended it early; empty for one that is done.
    """

    task: str
    number: Positive
    why: str = ""
    host: str = ""
    began: str
    ended: str = ""
    error: str = ""


class ArmPlace(Strict):
    """Where an arm or a part of a study was measured.

    Attributes:
        host: The host's name.
        node: What Ray called it.
    """

    host: str
    node: str


PLACE = "place.json"


@dataclass(frozen=True)
class FleetFolder:
    """A fleet's files.

    Attributes:
        path: The folder, beside those of its runs.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """What it is to do, a FleetPlan. Not `plan.json`: it is no run."""
        return self.path / "fleet-plan.json"

    @property
    def attempts(self) -> Path:
        """Every attempt, an Attempt a line."""
        return self.path / "attempts.jsonl"

    @property
    def report(self) -> Path:
        """What came of it, a FleetReport."""
        return self.path / "fleet.json"

    @property
    def page(self) -> Path:
        """The same for a browser."""
        return self.path / "fleet.html"

    def arm(self, key: str) -> Path:
        """What an arm that is done left; there as a whole or not at all."""
        return self.path / "arms" / key

    def keep(self, key: str, delivery: Delivery) -> None:
        """Keep what an arm left, in place of what an earlier one of the key did.

        Raises:
            OSError: It cannot be written.
        """
        keep_whole(self.arm(key), delivery)

    def forget(self, key: str) -> None:
        """Take away what an arm left: it is to be measured anew."""
        shutil.rmtree(self.arm(key), ignore_errors=True)

    def place(self, key: str) -> ArmPlace | None:
        """Return where an arm was measured; None for one that is not done."""
        file = self.arm(key) / PLACE
        return read_record(file, ArmPlace) if file.exists() else None

    def end(self, key: str) -> ArmEnd:
        """Return how an arm that is done ended."""
        return read_record(self.arm(key) / ENDED, ArmEnd)

    def files(self, key: str, arm: str) -> Files:
        """Return the files of the arm itself, as another arm of its run needs them."""
        return {f"{arm}/{name}": content for name, content in pack(self.arm(key) / arm).items()}

    def note(self, attempt: Attempt) -> None:
        """Write an attempt down, for good."""
        write_lines(self.attempts, [attempt])

    def attempted(self) -> list[Attempt]:
        """Return every attempt as it was last written down, in the order they began."""
        if not self.attempts.exists():
            return []
        found = read_lines(self.attempts, Attempt, "an attempt")
        return list({(attempt.task, attempt.number): attempt for attempt in found}.values())


def keep_whole(place: Path, delivery: Delivery) -> None:
    """Keep what a task left in a folder, which is there as a whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    with partial_folder(place) as folder:
        unpack(delivery.files, folder)
        write_record(folder / PLACE, ArmPlace(host=delivery.host, node=delivery.node))


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a fleet."""
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    return f"nox -s fleet -- --resume {shown}"
