"""What the head asks of whatever shares out its tasks: Ray, or in the simulation of many hosts a stand-in."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Protocol

from harness.fleet.on_host import Delivery, Files, Order
from harness.fleet.records import Needs


class LostError(Exception):
    """A task ended without an answer: its node, its worker or its result is gone.

    Attributes:
        began: Whether it may have begun.
        host: The name of the host that is gone; empty where only the worker is, or nobody knows.
    """

    def __init__(self, message: str, *, began: bool = True, host: str = "") -> None:
        super().__init__(message)
        self.began, self.host = began, host


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that is up.

    Attributes:
        node: What Ray calls it.
        name: Its own name.
        resources: What it has in all, by Ray's names.
    """

    node: str
    name: str
    resources: dict[str, float]

    def takes(self, needs: Needs) -> int:
        """Return how many tasks of such needs it can have at once."""
        return floor(min(self.resources.get(name, 0.0) / count for name, count in needs.by_name.items()))


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a task under way said last.

    Attributes:
        host: Its host's name.
        text: Its last line.
    """

    host: str
    text: str


class Engine(Protocol):
    """What shares out tasks: Ray, see `harness.fleet.cluster`."""

    dashboard: str

    def hosts(self) -> list[Host]:
        """Return the hosts that are up."""

    def put(self, files: Files) -> object:
        """Return a reference to files, for `submit`."""

    def submit(self, order: Order, earlier: Sequence[object], needs: Needs, node: str | None) -> Hashable:
        """Have a task done on a host, on the one named if any, and return a handle."""

    def wait(self, handles: Sequence[Hashable], timeout_s: float) -> Hashable | None:
        """Return one that ended, None where none did in time."""

    def delivery(self, handle: Hashable) -> Delivery:
        """Return what one that ended left; LostError where it left nothing."""

    def said(self) -> dict[str, Said]:
        """Return what each task said last, by its key."""
