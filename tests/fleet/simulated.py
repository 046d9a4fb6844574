"""A cluster of hosts that are only counted: the head's own work alone, with any number of hosts and any faults."""

import heapq
import json
import random
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from harness.fleet.engine import Host, LostError, Said
from harness.fleet.on_host import ArmOrder, Delivery, Files, Order, pack
from harness.fleet.records import Needs
from harness.records.arm_end import DONE, ENDED, UNLIKE, ArmEnd, Outcome

# Of each host: one server.
ROOM = {"CPU": 1.0, "harness_cpu_server": 1.0}


class SimulatedCluster:
    """Hosts of one server each. A task takes 1 to 3 units of its time."""

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        kill: float = 0.0,
        seed: int = 0,
        name: str = "",
        spoil: Callable[[Order], tuple[Outcome, str] | None] = lambda _order: None,
    ) -> None:
        """Have hosts up.

        Args:
            kinds: Each host's kind: hosts of one kind are alike.
            kill: How likely it is, whenever an arm ends, that a host does. Another of its kind comes up for it.
            seed: Of chance.
            name: The name of all hosts; each has its own if empty.
            spoil: Says of an order that it is to fail, and how.
        """
        self.dashboard = ""
        self.random = random.Random(seed)  # noqa: S311 - a test that can be repeated
        self.kinds = {f"node-{number}": kind for number, kind in enumerate(kinds)}
        self._name = name
        self.begun: list[tuple[str, str]] = []
        self.killed = 0
        self._kill, self._spoil, self._count, self._now = kill, spoil, len(kinds), 0.0
        self._running: dict[str, int] = {}
        self._waiting: list[tuple[int, Order, str | None]] = []
        self._events: list[tuple[float, int, str]] = []
        self._ended: dict[Hashable, Delivery | LostError] = {}
        self._orders: dict[int, Order] = {}
        self._left: dict[Path, Files] = {}

    def hosts(self) -> list[Host]:
        # As on this machine, where all nodes have one name, or as in a rack.
        head = Host(node="head", name=self._name or "head", resources={"CPU": 1.0})
        return [head, *(Host(node=node, name=self._named(node), resources=ROOM) for node in self.kinds)]

    def _named(self, node: str) -> str:
        return self._name or f"host of {node}"

    def put(self, files: Files) -> object:
        return files

    def submit(self, order: Order, earlier: Sequence[object], needs: Needs, node: str | None) -> Hashable:
        assert Host(node="", name="", resources=ROOM).takes(needs) == 1
        assert not isinstance(order, ArmOrder) or len(earlier) == (order.arm != "baseline")
        handle = len(self._orders)
        self._orders[handle] = order
        self._waiting.append((handle, order, node))
        self._start()
        return handle

    def wait(self, handles: Sequence[Hashable], timeout_s: float) -> Hashable | None:
        del timeout_s
        while self._events and not self._ended:
            self._now, handle, node = heapq.heappop(self._events)
            if self._running.get(node) == handle:
                del self._running[node]
                self._ended[handle] = self._deliver(self._orders[handle], node)
                if self.random.random() < self._kill:
                    self.kill(self.random.choice(list(self.kinds)))
        self._start()
        found = next(iter(self._ended), None)
        assert found is None or found in handles
        return found

    def delivery(self, handle: Hashable) -> Delivery:
        found = self._ended.pop(handle)
        if isinstance(found, LostError):
            raise found
        return found

    def said(self) -> dict[str, Said]:
        return {}

    def kill(self, node: str, kind: str | None = None) -> None:
        """End a host, and have another in its place; of its kind unless another is named."""
        self.killed += 1
        if node in self._running:
            self._ended[self._running.pop(node)] = LostError(f"NodeDiedError: {node}", host=self._named(node))
        self.kinds[f"node-{self._count}"] = kind or self.kinds[node]
        self._count += 1
        del self.kinds[node]

    def _start(self) -> None:
        left = []
        for handle, order, node in self._waiting:
            free = [name for name in self.kinds if name not in self._running and node in (None, name)]
            if node is not None and node not in self.kinds:
                self._ended[handle] = LostError("TaskUnschedulableError", began=False)
            elif free:
                chosen = self.random.choice(free)
                self._running[chosen] = handle
                self.begun.append((order.key, chosen))
                heapq.heappush(self._events, (self._now + self.random.uniform(1, 3), handle, chosen))
            else:
                left.append((handle, order, node))
        self._waiting = left

    def _deliver(self, order: Order, node: str) -> Delivery:
        kind = self.kinds[node]
        fingerprint = self._fingerprint(order, kind)
        outcome, error = self._spoil(order) or (DONE, "")
        if order.fingerprint not in (None, fingerprint):
            outcome, error = UNLIKE, f"machine: now: {kind}"
        end = ArmEnd(outcome=outcome, error=error, seconds=1.0, versions={"sglang": "0.5.23"})
        files = {
            **self._files(order, outcome),
            "fingerprint.json": fingerprint,
            ENDED: end.model_dump_json().encode(),
        }
        return Delivery(host=self._named(node), node=node, end=end, files=files)

    def _fingerprint(self, order: Order, kind: str) -> bytes:
        del order
        return json.dumps({"facts": {"machine": kind}}).encode()

    def _files(self, order: Order, outcome: Outcome) -> Files:
        """Return what a task leaves: an arm what its plan's data is."""
        assert isinstance(order, ArmOrder)
        left = Path(order.plan.data) / order.arm
        if left not in self._left:
            self._left[left] = {f"{order.arm}/{name}": content for name, content in pack(left).items()}
        return self._left[left] if outcome == DONE else {}
