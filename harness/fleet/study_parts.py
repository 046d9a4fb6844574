"""A study shared out over hosts: what depends on no other result is measured in parts, each on a server of its own.

What the parts measure goes into the store of the host where the study was started, which finds it there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.fleet.dispatch import NO_HOST_S, Dispatcher, Task
from harness.fleet.engine import Engine
from harness.fleet.matrix import device_needs
from harness.fleet.on_host import Delivery, Order
from harness.fleet.records import Attempt, keep_whole
from harness.plan.model_folder import layers_of
from harness.records.arm_end import DIED, DONE
from harness.records.run import write_lines
from harness.study.folder import MEASURED
from harness.study.measurements import cut, independent
from harness.study.plan import Measurement, StudyPlan, arm_name
from harness.study.records import read_measured
from harness.study.setup import ReadyStudy

PART_COMMAND = ("-m", "harness", "study-part")
STOPPED = "the study was ended before this part was done"


@dataclass(kw_only=True, eq=False)
class Part(Task):
    """Where a part of a study is.

    Attributes:
        wanted: What it measures.
    """

    wanted: list[Measurement]


def share_study(
    ready: ReadyStudy,
    engine: Engine,
    *,
    parts: int | None,
    say: Callable[[str], None],
    command: Sequence[str] = PART_COMMAND,
    no_host_s: float = NO_HOST_S,
) -> None:
    """Have what depends on no other result measured by other hosts, and put it into the study's store.

    Each attempt is a line of attempts.jsonl in the study's folder; what a part left, its server's log and all, is in
    `parts` there.

    Args:
        ready: The study, whose folder is there.
        engine: What shares out tasks.
        parts: Among how many servers; None: as many as the hosts have room for at once.
        say: Told each thing that happens, a sentence each.
        command: The interpreter's arguments that measure a part.
        no_host_s: How long a part waits for a host that could take it.

    Raises:
        HarnessError: A part failed too often, or would fail again: a host is unlike this one, say.
        OSError: A file cannot be written.
    """
    _Sharing(ready, engine, say=say, command=command, no_host_s=no_host_s).work(parts)


def not_measured(ready: ReadyStudy) -> list[Measurement]:
    """Return what could be shared of a study: what depends on no other result and is not in its store.

    Raises:
        HarnessError: What is measured is not kept, or nothing says how many layers the model has.
    """
    plan = ready.plan
    stores = {ranks: ready.store(ranks) for ranks in plan.ranks}
    if not all(store.kept for store in stores.values()):
        raise HarnessError(
            f"nothing can be shared of a study of {plan.model_path}: of a model under its hub name no measurement is "
            "kept; give its folder with --model-path"
        )
    known = stores[plan.ranks[0]].model
    layers = known.layers if known else layers_of(plan.model_path)
    if layers is None and plan.sites:
        raise HarnessError(
            f"the sites of {plan.model_path} cannot be shared: its config.json does not say how many layers it has "
            "(num_hidden_layers); leave --ray out, or the sites with --no-sites"
        )
    return [one for one in independent(plan, layers or 0) if stores[one.ranks].get(one.key) is None]


class _Sharing:
    """The parts of one study, given out and taken back."""

    def __init__(
        self,
        ready: ReadyStudy,
        engine: Engine,
        *,
        say: Callable[[str], None],
        command: Sequence[str],
        no_host_s: float,
    ) -> None:
        self._ready, self._engine, self._say, self._command = ready, engine, say, command
        self._fingerprint = ready.fingerprint.model_dump_json().encode()
        self._dispatcher = Dispatcher[Part](
            engine,
            order_of=self._order,
            node_of=lambda _part, _hosts: None,
            note=self._note,
            say=say,
            no_host_s=no_host_s,
        )

    def work(self, count: int | None) -> None:
        """Have everything measured; arguments and errors as for `share_study`."""
        if not (wanted := not_measured(self._ready)):
            self._say("nothing to share: what depends on no other result was measured before")
            return
        needs, hosts = device_needs(self._ready.plan.device, 1), self._engine.hosts()
        room = sum(host.takes(needs) for host in hosts)
        shares = cut(wanted, count or max(1, room))
        parts = [
            Part(key=f"part-{number}", needs=needs, wanted=share) for number, share in enumerate(shares, start=1)
        ]
        self._say(
            f"{len(wanted)} measurements in {len(parts)} parts; {len(hosts)} hosts, with room for {room} servers"
        )
        dispatcher = self._dispatcher
        try:
            while any(part.state != "done" for part in parts):
                dispatcher.give_out(part for part in parts if part.state == "waiting")
                if (ended := dispatcher.next_ended()) is not None:
                    self._ended(*ended)
                for part in parts:
                    if part.state == "given up":
                        raise HarnessError(f"{part.key} of the study{_on(part)}: {part.error}")
        finally:
            for part in dispatcher.given.values():
                dispatcher.again(part, STOPPED, "", STOPPED)

    def _order(self, part: Part) -> tuple[Order, Sequence[object]]:
        """Return what a part's host is told."""
        plan: StudyPlan = self._ready.plan.model_copy(update={"part": part.wanted})
        return Order(key=part.key, plan=plan, fingerprint=self._fingerprint, command=self._command), ()

    def _note(self, attempt: Attempt) -> None:
        write_lines(self._ready.folder.attempts, [attempt])

    def _ended(self, part: Part, delivery: Delivery) -> None:
        """Keep what a part left, and have it run again where another start may do."""
        place, end = self._ready.folder.part(part.key), delivery.end
        keep_whole(place, delivery)
        # Of a part whose server died too: each measurement is proven by itself, and is not made again.
        missing = self._take(part, place)
        if end.outcome == DIED and missing:
            part.wanted = missing
            self._dispatcher.failed(part, end.error, part.host)
        elif end.outcome not in {DONE, DIED}:
            self._dispatcher.refuse(part, end.error)
        elif missing:
            self._dispatcher.refuse(
                part, f"it left nothing of {len(missing)} measurements, such as {missing[0].name}"
            )
        else:
            self._dispatcher.done(part, end.seconds)

    def _take(self, part: Part, place: Path) -> list[Measurement]:
        """Put what a part measured into the study's store; return what it did not."""
        missing: list[Measurement] = []
        for ranks in dict.fromkeys(wanted.ranks for wanted in part.wanted):
            folder = place / arm_name(ranks)
            found = {}
            if (folder / MEASURED).exists():
                found = {(measured.purpose, measured.name): measured for measured in read_measured(folder)}
            store = self._ready.store(ranks)
            for wanted in (wanted for wanted in part.wanted if wanted.ranks == ranks):
                if (measured := found.get((wanted.purpose, wanted.name))) is not None:
                    store.put(wanted.key, measured)
                else:
                    missing.append(wanted)
        return missing


def _on(part: Part) -> str:
    return f" on {part.host}" if part.host else ""
