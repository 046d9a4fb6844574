"""Gives tasks to hosts that have room, runs again what was lost, and writes down every attempt."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from harness.fleet.engine import Engine, Host, LostError, Said
from harness.fleet.on_host import Delivery, Order
from harness.fleet.records import Attempt, Needs

# Of one task, before it is given up: what ends three servers ends a fourth.
MOST_FAILURES = 3
WAIT_S = 1.0
# So long it is believed which hosts are up, unless one is seen to be gone.
HOSTS_S = 5.0
# No host that could take a task came up for so long: nobody waits for ever.
NO_HOST_S = 600.0
# A task's needs.
Kind = tuple[tuple[str, float], ...]


@dataclass(kw_only=True, eq=False)
class Task:
    """Where a task is: an arm of a fleet, or a part of a study.

    Attributes:
        key: What it is called.
        needs: What its host must have free.
        state: `waiting`, `given`, `done`, or `given up`.
        failures: How often it failed, since whoever gives it out was started.
        attempt: The attempt under way or the last one; None before the first.
        why: Why it has to run again.
        host: Where it was done.
        node: What Ray calls that.
        since: When it could first have been given to a host and none was there.
        error: Why it was given up.
    """

    key: str
    needs: Needs
    state: str = "waiting"
    failures: int = 0
    attempt: Attempt | None = None
    why: str = ""
    host: str = ""
    node: str = ""
    since: float | None = None
    error: str = ""

    @property
    def kind(self) -> Kind:
        """What tasks have in common of which a host takes one in another's place."""
        return tuple(self.needs.by_name.items())


TaskT = TypeVar("TaskT", bound=Task)


class Dispatcher(Generic[TaskT]):
    """Gives tasks to an engine and takes back what they leave.

    Attributes:
        engine: What shares them out.
        given: Those under way.
        attempts: Every attempt, by task and number.
        waited: Seconds in which it waited for hosts.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        order_of: Callable[[TaskT], tuple[Order, Sequence[object]]],
        node_of: Callable[[TaskT, Sequence[Host]], str | None],
        note: Callable[[Attempt], None],
        say: Callable[[str], None],
        no_host_s: float = NO_HOST_S,
        attempts: Iterable[Attempt] = (),
    ) -> None:
        """Begin with nothing given.

        Args:
            engine: What shares tasks out.
            order_of: Returns what a task's host is told, and the files that the engine has for it.
            node_of: Returns the node that a task has to run on, of hosts that are up; None for any.
            note: Writes an attempt down, for good.
            say: Told each thing that happens, a sentence each.
            no_host_s: How long a task waits for a host that could take it.
            attempts: Those of before.
        """
        self.engine = engine
        self._order_of, self._node_of = order_of, node_of
        self._write_down, self._say, self._no_host_s = note, say, no_host_s
        self.given: dict[Hashable, TaskT] = {}
        self.attempts = {(attempt.task, attempt.number): attempt for attempt in attempts}
        self.waited = 0.0
        self._hosts: tuple[float, list[Host]] = (0.0, [])

    def hosts(self) -> list[Host]:
        """Return the hosts that are up, as of a few seconds ago at most."""
        asked, hosts = self._hosts
        if time.monotonic() - asked > HOSTS_S:
            hosts = self.engine.hosts()
            self._hosts = (time.monotonic(), hosts)
        return hosts

    def give_out(self, ready: Iterable[TaskT]) -> None:
        """Give tasks to hosts, in order, as long as these have room.

        Ray takes tasks of one kind in the order they come and knows no priorities, so it gets no more of them than
        run at once.
        """
        hosts = self.hosts()
        rooms: dict[Kind, dict[str, int]] = {}
        given = Counter[Kind | tuple[Kind, str | None]]()
        for task in self.given.values():
            given.update((task.kind, (task.kind, self._node_of(task, hosts))))
        for task in ready:
            kind = task.kind
            if kind not in rooms:
                rooms[kind] = {host.node: host.takes(task.needs) for host in hosts}
            room = rooms[kind]
            if not any(room.values()):
                self._without_host(task)
                continue
            task.since = None
            if given[kind] < sum(room.values()):
                node = self._node_of(task, hosts)
                if node is None or given[kind, node] < room[node]:
                    self._give(task, node)
                    given.update((kind, (kind, node)))

    def next_ended(self) -> tuple[TaskT, Delivery] | None:
        """Wait a moment for a task that ends; return it with what it left, to be called done, failed or given up.

        None where none ended, or where one was lost: that one waits again, or is given up.
        """
        began = time.monotonic()
        handle = self.engine.wait(list(self.given), WAIT_S)
        self.waited += time.monotonic() - began
        if handle is None:
            return None
        task = self.given.pop(handle)
        task.state = "waiting"
        try:
            delivery = self.engine.delivery(handle)
        except LostError as lost:
            # It may not have come to say where it is.
            said = self.engine.said().get(task.key, Said(host="", text=""))
            # Whoever is gone must not get the next one.
            self._hosts = (0.0, [])
            if lost.began:
                self.failed(task, str(lost), lost.host or said.host)
            else:
                self.again(task, str(lost), "", f"did not begin: {lost}")
            return None
        task.host, task.node = delivery.host, delivery.node
        return task, delivery

    def done(self, task: TaskT, seconds: float) -> None:
        """Note that a task is done, and how long it took."""
        task.state, task.why = "done", ""
        self._end_attempt(task, task.host, "")
        self._say(f"{task.key}: done on {task.host} in {seconds:.0f} s")

    def again(self, task: TaskT, why: str, host: str, error: str) -> None:
        """Have a task run again that did not fail: why, where its attempt was, and what ended that."""
        task.why = why
        self._end_attempt(task, host, error)

    def failed(self, task: TaskT, why: str, host: str) -> bool:
        """Have a task run again, as a whole, unless it failed too often; return whether it will."""
        task.failures += 1
        self.again(task, why, host, why)
        self._say(f"{task.key}: attempt {task.failures} of {MOST_FAILURES} failed on {host or 'a host'}: {why}")
        if task.failures < MOST_FAILURES:
            return True
        self._give_up(task, f"failed {task.failures} times, the last: {why}")
        return False

    def refuse(self, task: TaskT, error: str) -> None:
        """Give a task up that would fail again."""
        self._end_attempt(task, task.host, error)
        self._give_up(task, error)

    def _give_up(self, task: TaskT, error: str) -> None:
        task.state, task.error = "given up", error
        self._say(f"{task.key}: given up: {error}")

    def _without_host(self, task: TaskT) -> None:
        """Give a task up that no host can take, after a while."""
        now = time.monotonic()
        if task.since is None:
            task.since = now
            self._say(f"{task.key}: waits: no host that is up has {_told(task.needs)}")
        if now - task.since > self._no_host_s:
            self._give_up(task, f"no host with {_told(task.needs)} was up for {self._no_host_s:.0f} s")

    def _give(self, task: TaskT, node: str | None) -> None:
        number = task.attempt.number + 1 if task.attempt else 1
        self._note(task, Attempt(task=task.key, number=number, why=task.why, began=moment()))
        order, data = self._order_of(task)
        self.given[self.engine.submit(order, data, task.needs, node)] = task
        task.state = "given"

    def _end_attempt(self, task: TaskT, host: str, error: str) -> None:
        if task.attempt is not None:
            self._note(task, task.attempt.model_copy(update={"host": host, "ended": moment(), "error": error}))

    def _note(self, task: TaskT, attempt: Attempt) -> None:
        task.attempt = attempt
        self.attempts[attempt.task, attempt.number] = attempt
        self._write_down(attempt)


def moment() -> str:
    """Return the time as attempts have it: ISO, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _told(needs: Needs) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in needs.by_name.items())
