"""Where the arms and runs of a fleet are, as its head has them in mind; what must not be lost is in its files."""

import time
from dataclasses import dataclass, field

from harness.fleet.records import Attempt, FleetRun
from harness.fleet.report import RunResult
from harness.plan.plan import Shard

# An arm's needs.
Kind = tuple[tuple[str, float], ...]


@dataclass(kw_only=True, eq=False)
class ArmState:
    """Where an arm is.

    Attributes:
        key: What the fleet calls it.
        name: Its name in the plan.
        run: The run whose plan it is of; of a shared baseline the first.
        shard: The part that it is asked; None for the whole.
        earlier: The arms that it needs, in order, of its own shard.
        order: Its place among all arms.
        state: `waiting`, `given`, `done`, or `given up`.
        failures: How often it failed, since the fleet was last started.
        attempt: The attempt under way or the last one; None before the first.
        against: The attempts of those that it was given with: it is worth nothing beside another baseline.
        why: Why it has to run again.
        host: Where it was done.
        node: What Ray calls that.
        wanted: The node that it has to run on, for a baseline that was moved.
        since: When it could first have been given to a host and none was there.
        error: Why it was given up.
    """

    key: str
    name: str
    run: FleetRun
    shard: Shard | None
    earlier: list["ArmState"]
    order: int
    state: str = "waiting"
    failures: int = 0
    attempt: Attempt | None = None
    against: list[int] = field(default_factory=list)
    why: str = ""
    host: str = ""
    node: str = ""
    wanted: str | None = None
    since: float | None = None
    error: str = ""

    @property
    def label(self) -> str:
        """Its name within its run."""
        return f"{self.name} (shard {self.shard.number})" if self.shard else self.name

    @property
    def kind(self) -> "Kind":
        """What arms have in common of which a host takes one in another's place."""
        return tuple(self.run.needs.by_name.items())

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
        waited: In which it waited for hosts.
        judging: In which it judged and wrote reports.
        arms: How long each arm took that is done.
    """

    started: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    judging: float = 0.0
    arms: list[float] = field(default_factory=list)
