"""Ray, which this module alone knows: tasks for arms, a board on which they say how far they are, its hosts."""

import signal
import socket
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import ray
from ray.exceptions import RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import HarnessError
from harness.fleet.engine import Host, LostError, Said
from harness.fleet.matrix import CPU_SERVER
from harness.fleet.on_host import Delivery, Files, Order, carry_out
from harness.fleet.records import Needs

SHOWN = 600
# A server ends within ten seconds; those of a CI job that is cancelled have no more than these.
GRACE_S = 15.0


@contextmanager
def connected(address: str | None) -> "Iterator[RayCluster]":
    """Connect to a cluster, or have one of this machine alone for as long as the body takes.

    Args:
        address: The cluster's, `auto` for the one that this host is in; None or `local` for this machine alone.

    Raises:
        HarnessError: Ray did not start, or cannot be reached.
    """
    own: dict[str, Any] = {"address": "local", "resources": {CPU_SERVER: 1}}
    if address not in (None, "local"):
        own = {"address": address}
    ours = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(**own, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray has no type of its own for this
        where = "started on this machine" if own["address"] == "local" else f"reached at {address}"
        raise HarnessError(f"Ray cannot be {where}: {error}") from error
    # Ray puts one of its own in its place, which would end the head without a word.
    signal.signal(signal.SIGTERM, ours)
    cluster = RayCluster(dashboard=context.dashboard_url or "")
    try:
        yield cluster
    finally:
        cluster.end()
        ray.shutdown()


class Board:
    """What arms under way say; a Ray actor, so that it needs no way between hosts but Ray's."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, str]] = {}

    def tell(self, key: str, host: str, text: str) -> None:
        """Take down what an arm says."""
        self._said[key] = (host, text)

    def read(self) -> dict[str, tuple[str, str]]:
        """Return what each arm said last: host and text."""
        return self._said


class RayCluster:
    """An `Engine` of Ray's.

    Attributes:
        dashboard: The address of Ray's page; empty where it has none.
    """

    def __init__(self, *, dashboard: str) -> None:
        self.dashboard = f"http://{dashboard}" if dashboard and "://" not in dashboard else dashboard
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        # It holds nothing that is needed: begun anew elsewhere, it is empty and fills.
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
        self._board: Any = ray.remote(Board).options(**options).remote()
        self._task = ray.remote(max_retries=0)(_task)
        self._given: set[Any] = set()

    def hosts(self) -> list[Host]:
        """Return the hosts that are up."""
        return [
            Host(node=node["NodeID"], name=node["NodeManagerHostname"], resources=node["Resources"])
            for node in ray.nodes()
            if node["Alive"]
        ]

    def put(self, files: Files) -> object:
        """Return a reference to files in Ray's object store, owned by the head: no host's end takes them away."""
        return ray.put(files)

    def submit(self, order: Order, earlier: Sequence[object], needs: Needs, node: str | None) -> Hashable:
        """Have a task done."""
        options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "resources": needs.resources}
        if needs.memory_gib:
            options["memory"] = needs.memory_gib * 2**30
        if node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        handle: Hashable = self._task.options(name=order.key, **options).remote(order, self._board, *earlier)
        self._given.add(handle)
        return handle

    def wait(self, handles: Sequence[Hashable], timeout_s: float) -> Hashable | None:
        """Return one that ended, None where none did in time."""
        if not handles:
            # Nothing runs anywhere: hosts are waited for.
            time.sleep(timeout_s)
            return None
        ended, _ = ray.wait(cast("list[ray.ObjectRef[Delivery]]", handles), num_returns=1, timeout=timeout_s)
        return ended[0] if ended else None

    def delivery(self, handle: Hashable) -> Delivery:
        """Return what one that ended left.

        Raises:
            LostError: It left nothing: in Ray's words, why.
        """
        self._given.discard(handle)
        try:
            delivery: Delivery = ray.get(cast("ray.ObjectRef[Delivery]", handle))
        except RayError as error:
            told = f"{type(error).__name__}: {str(error).strip()[-SHOWN:]}"
            # Ray names a node that died by its id, and still knows its name.
            gone = next((node["NodeManagerHostname"] for node in ray.nodes() if node["NodeID"] in str(error)), "")
            raise LostError(told, began=not isinstance(error, TaskUnschedulableError), host=gone) from error
        return delivery

    def said(self) -> dict[str, Said]:
        """Return what each arm said last; nothing as long as the board is out of reach."""
        with suppress(RayError):
            said: dict[str, tuple[str, str]] = ray.get(self._board.read.remote())
            return {key: Said(host=host, text=text) for key, (host, text) in said.items()}
        return {}

    def end(self) -> None:
        """Interrupt the arms that are under way, and let their hosts end servers and clear scratch folders.

        Ray kills what is left when the head goes; the guard ends the servers then too, but the folders stay.
        """
        with suppress(RayError):
            for handle in self._given:
                ray.cancel(handle)
            if self._given:
                ray.wait(list(self._given), num_returns=len(self._given), timeout=GRACE_S)


def _task(order: Order, board: Any, *earlier: Files) -> Delivery:  # noqa: ANN401 - a handle, which has no type
    """Do a task on the host that Ray chose."""
    context = ray.get_runtime_context()
    host = socket.gethostname()

    def tell(text: str) -> None:
        board.tell.remote(order.key, host, text)

    tell("starts")
    return carry_out(order, earlier, node=context.get_node_id(), tell=tell)
