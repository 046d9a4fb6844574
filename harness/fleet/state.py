"""Where the arms and runs of a fleet are, as its head has them in mind; what must not be lost is in its files."""

import time
from dataclasses import dataclass, field

from harness.fleet.dispatch import Task
from harness.fleet.records import FleetRun
from harness.fleet.report import RunResult
from harness.plan.plan import Shard


@dataclass(kw_only=True, eq=False)
class ArmState(Task):
    """Where an arm is.

    Attributes:
        name: Its name in the plan.
        run: The run whose plan it is of; of a shared baseline the first.
        shard: The part that it is asked; None for the whole.
        earlier: The arms that it needs, in order, of its own shard.
        order: Its place among all arms.
        against: The attempts of those that it was given with: it is worth nothing beside another baseline.
        wanted: The node that it has to run on, for a baseline that was moved.
    """

    name: str
    run: FleetRun
    shard: Shard | None
    earlier: list["ArmState"]
    order: int
    against: list[int] = field(default_factory=list)
    wanted: str | None = None

    @property
    def label(self) -> str:
        """Its name within its run."""
        return f"{self.name} (shard {self.shard.number})" if self.shard else self.name

    @property
    def ready(self) -> bool:
        """Whether it can be given to a host."""
        return self.state == "waiting" and self.current

    @property
    def current(self) -> bool:
        """Whether those that it needs are there."""
        return all(arm.state == "done" for arm in self.earlier)

    @property
    def numbers(self) -> list[int]:
        """The attempts in which those that it needs were measured."""
        return [arm.attempt.number for arm in self.earlier if arm.attempt]


@dataclass(kw_only=True, eq=False)
class RunState:
    """Where a run is: its arms, and its verdict once it has one."""

    run: FleetRun
    arms: list[ArmState]
    result: RunResult | None = None


@dataclass
class Times:
    """What the head did with its time, in seconds, and how long arms took.

    Attributes:
        started: When it began, on the monotonic clock.
        judging: In which it judged and wrote reports.
        arms: How long each arm took that is done.
    """

    started: float = field(default_factory=time.monotonic)
    judging: float = 0.0
    arms: list[float] = field(default_factory=list)
