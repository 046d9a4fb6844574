"""The head of a fleet: gives arms to hosts, runs again what was lost, lays runs together and judges them."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.fleet.engine import Engine, Host, LostError, Said
from harness.fleet.lay import lay
from harness.fleet.on_host import ARM_COMMAND, Delivery, Order
from harness.fleet.records import Attempt, FleetFolder, FleetPlan, FleetRun, Needs, resume_command
from harness.fleet.report import NOT_DONE, FleetReport, RunResult, verdict_of, worst_first, write_fleet
from harness.fleet.results import notes_of, result_of
from harness.fleet.state import ArmState, Kind, RunState, Times
from harness.judge.verdict import EXIT_CODES, Verdict
from harness.plan.plan import BASELINE, Shard
from harness.records.arm_end import DIED, DONE, UNLIKE
from harness.records.run import FINISHED, ArmRecord, RunRecord, read_record, write_whole
from harness.records.run_folder import RunFolder
from harness.report.model import Report
from harness.run.pipeline import report_on

# Of one arm, before its run is given up: what ends three servers ends a fourth.
MOST_FAILURES = 3
WAIT_S = 1.0
# So long it is believed which hosts are up, unless one is seen to be gone.
HOSTS_S = 5.0
# No host that could take an arm came up for so long: nobody waits for ever.
NO_HOST_S = 600.0
STOPPED = "the fleet was stopped before it ended"


class Head:
    """Carries out a fleet's plan."""

    def __init__(
        self,
        plan: FleetPlan,
        folder: FleetFolder,
        engine: Engine,
        *,
        say: Callable[[str], None],
        judge: Callable[[RunFolder], Report] = report_on,
        remember: Callable[[RunFolder], None] = lambda _folder: None,
        show: Callable[["Head"], None] = lambda _head: None,
        command: Sequence[str] = ARM_COMMAND,
        no_host_s: float = NO_HOST_S,
    ) -> None:
        """Take up a plan, with whatever of it is done.

        Args:
            plan: What to do.
            folder: The fleet's files.
            engine: What shares out tasks.
            say: Told each thing that happens, a sentence each.
            judge: Judges a run by its folder and writes its report.
            remember: Given each run that was judged.
            show: Shows where everything is.
            command: The interpreter's arguments that run an arm.
            no_host_s: How long an arm waits for a host that could take it.

        Raises:
            HarnessError: What an earlier head left is broken.
            OSError: The folder cannot be written.
        """
        self.plan, self.folder, self.engine = plan, folder, engine
        self._say, self._judge, self._remember, self._show = say, judge, remember, show
        self._command, self._no_host_s = command, no_host_s
        self.times = Times()
        self.attempts = {(attempt.arm, attempt.number): attempt for attempt in folder.attempted()}
        self.arms: dict[str, ArmState] = {}
        self.runs = [self._run_state(run) for run in plan.runs]
        self._given: dict[Hashable, ArmState] = {}
        self._data: dict[str, object] = {}
        self._hosts: tuple[float, list[Host]] = (0.0, [])
        self._mend()

    def work(self) -> FleetReport:
        """Run every arm that is not done, judge every run, and report.

        Raises:
            HarnessError: A file of the fleet's own cannot be written.
        """
        try:
            for run in self.runs:
                self._conclude_if_done(run)
            while any(run.result is None for run in self.runs):
                self._give_out()
                began = time.monotonic()
                handle = self.engine.wait(list(self._given), WAIT_S)
                self.times.waited += time.monotonic() - began
                if handle is not None:
                    self._ended(self._given.pop(handle), handle)
                self._show(self)
        except OSError as full:
            raise HarnessError(f"{self.folder.path} cannot be written: {full}") from full
        finally:
            report = self.report()
            write_fleet(report, self.folder)
        return report

    def report(self) -> FleetReport:
        """Return what the fleet came to so far."""
        attempts = list(self.attempts.values())
        runs = worst_first([run.result or result_of(run, self.runs, attempts, NOT_DONE, []) for run in self.runs])
        verdict, seconds = verdict_of(runs), time.monotonic() - self.times.started
        return FleetReport(
            fleet_id=self.plan.fleet_id,
            matrix=self.plan.matrix,
            started=self.plan.started,
            seconds=seconds,
            head_seconds=seconds - self.times.waited - self.times.judging,
            judging_seconds=self.times.judging,
            verdict=verdict,
            exit_code=EXIT_CODES[verdict],
            dashboard=self.engine.dashboard,
            runs=runs,
            attempts=attempts,
            resume=resume_command(self.folder.path) if any(run.verdict == NOT_DONE for run in runs) else "",
        )

    def hosts(self) -> list[Host]:
        """Return the hosts that are up, as of a few seconds ago at most."""
        asked, hosts = self._hosts
        if time.monotonic() - asked > HOSTS_S:
            hosts = self.engine.hosts()
            self._hosts = (time.monotonic(), hosts)
        return hosts

    def seconds_left(self) -> float | None:
        """Return about how long the fleet will still take; None as long as no arm is done."""
        if not self.times.arms:
            return None
        arms = {arm for run in self.runs if run.result is None for arm in run.arms}
        left = sum(arm.state in ("waiting", "given") for arm in arms)
        return sum(self.times.arms) / len(self.times.arms) * left / max(1, len(self._given))

    def _run_state(self, run: FleetRun) -> RunState:
        arms: list[ArmState] = []
        for number in range(run.shards):
            shard = Shard(number=number, of=run.shards) if run.shards > 1 else None
            own: list[ArmState] = []
            for arm in run.plan.arms:
                key = run.baseline if arm.name == BASELINE else f"{run.plan.run_id}.{arm.name}"
                key += f".{number}" if shard else ""
                if key not in self.arms:
                    self.arms[key] = self._arm_state(key, arm.name, run, shard, list(own))
                own.append(self.arms[key])
            arms += own
        return RunState(run=run, arms=arms)

    def _arm_state(
        self, key: str, name: str, run: FleetRun, shard: Shard | None, earlier: list[ArmState]
    ) -> ArmState:
        """Return where an arm is, by what an earlier head left of it."""
        state = ArmState(key=key, name=name, run=run, shard=shard, earlier=earlier, order=len(self.arms))
        if (place := self.folder.place(key)) is not None and self.folder.end(key).outcome == DONE:
            state.state, state.host, state.node = "done", place.host, place.node
        tried = [attempt for (arm, _), attempt in self.attempts.items() if arm == key]
        state.attempt = tried[-1] if tried else None
        state.why = (state.attempt.error or STOPPED) if state.attempt else ""
        return state

    def _mend(self) -> None:
        """Write down of attempts that a head before this one did not see the end of, that they are over."""
        for place, attempt in self.attempts.items():
            if not attempt.ended:
                error = "" if self.arms[attempt.arm].state == "done" else STOPPED
                self.attempts[place] = attempt.model_copy(update={"ended": _now(), "error": error})
        # Whole: a head that was killed may have left half a line.
        lines = "".join(attempt.model_dump_json() + "\n" for attempt in self.attempts.values())
        write_whole(self.folder.attempts, lines)

    def _give_out(self) -> None:
        """Give to hosts what they have room for: higher priorities first, then what a pair lacks.

        Ray takes tasks of one kind in the order they come and knows no priorities, so it gets no more of them than
        run at once.
        """
        hosts = self.hosts()
        rooms: dict[Kind, dict[str, int]] = {}
        given = Counter[Kind | tuple[Kind, str | None]]()
        for arm in self._given.values():
            given.update((arm.kind, (arm.kind, self._node(arm, hosts))))
        ready = {arm for run in self.runs if run.result is None for arm in run.arms if arm.ready}
        for arm in sorted(ready, key=lambda arm: (-arm.run.priority, not arm.earlier, arm.order)):
            kind = arm.kind
            if kind not in rooms:
                rooms[kind] = {host.node: host.takes(arm.run.needs) for host in hosts}
            room = rooms[kind]
            if not any(room.values()):
                self._without_host(arm)
                continue
            arm.since = None
            if given[kind] < sum(room.values()):
                node = self._node(arm, hosts)
                if node is None or given[kind, node] < room[node]:
                    self._give(arm, node)
                    given.update((kind, (kind, node)))

    def _without_host(self, arm: ArmState) -> None:
        """Give an arm up that no host can take, after a while."""
        now = time.monotonic()
        if arm.since is None:
            arm.since = now
            self._say(f"{arm.key}: waits: no host that is up has {_told(arm.run.needs)}")
        if now - arm.since > self._no_host_s:
            self._give_up(arm, f"no host with {_told(arm.run.needs)} was up for {self._no_host_s:.0f} s")

    def _node(self, arm: ArmState, hosts: Sequence[Host]) -> str | None:
        """Return the node that an arm has to run on: its pair's, as long as that is up; None for any."""
        first = arm.earlier[0] if arm.earlier and arm.run.same_host else None
        node, name = (first.node, first.host) if first else (arm.wanted, "")
        able = [host for host in hosts if host.takes(arm.run.needs)]
        # By its name where Ray was started anew there.
        up = [host for host in able if host.node == node] or [host for host in able if name and host.name == name]
        return up[0].node if up else None

    def _give(self, arm: ArmState, node: str | None) -> None:
        number = arm.attempt.number + 1 if arm.attempt else 1
        self._note(arm, Attempt(arm=arm.key, number=number, why=arm.why, began=_now()))
        order = Order(
            key=arm.key,
            plan=arm.run.plan.model_copy(update={"shard": arm.shard}),
            arm=arm.name,
            before=self._until(arm.earlier[-1]) if arm.earlier else 0.0,
            fingerprint=RunFolder(self.folder.arm(arm.earlier[0].key)).fingerprint.read_bytes()
            if arm.earlier
            else None,
            command=self._command,
        )
        for earlier in arm.earlier:
            if earlier.key not in self._data:
                self._data[earlier.key] = self.engine.put(self.folder.files(earlier.key, earlier.name))
        data = [self._data[earlier.key] for earlier in arm.earlier]
        self._given[self.engine.submit(order, data, arm.run.needs, node)] = arm
        arm.state, arm.against = "given", arm.numbers

    def _until(self, arm: ArmState) -> float:
        return read_record(RunFolder(self.folder.arm(arm.key)).arm(arm.name).record, ArmRecord).until

    def _ended(self, arm: ArmState, handle: Hashable) -> None:
        arm.state = "waiting"
        try:
            delivery = self.engine.delivery(handle)
        except LostError as lost:
            # It may not have come to say where it is.
            said = self.engine.said().get(arm.key, Said(host="", text=""))
            # Whoever is gone must not get the next one.
            self._hosts = (0.0, [])
            if lost.began:
                self._failed(arm, str(lost), lost.host or said.host)
            else:
                arm.why = str(lost)
                self._end_attempt(arm, "", f"did not begin: {lost}")
            return
        arm.host, arm.node, end = delivery.host, delivery.node, delivery.end
        if not arm.current or arm.against != arm.numbers:
            arm.why = "the baseline was measured anew meanwhile"
            self._end_attempt(arm, arm.host, arm.why)
        elif end.outcome == DONE:
            self.folder.keep(arm.key, delivery)
            arm.state, arm.why = "done", ""
            self.times.arms.append(end.seconds)
            self._end_attempt(arm, arm.host, "")
            self._say(f"{arm.key}: done on {arm.host} in {end.seconds:.0f} s")
        elif end.outcome == UNLIKE and self._moved(arm, delivery):
            pass
        elif end.outcome == DIED:
            if not self._failed(arm, end.error, arm.host):
                self.folder.keep(arm.key, delivery)
        else:
            self._end_attempt(arm, arm.host, end.error)
            self.folder.keep(arm.key, delivery)
            self._give_up(arm, end.error)
        for run in self.runs:
            self._conclude_if_done(run)

    def _failed(self, arm: ArmState, why: str, host: str) -> bool:
        """Have an arm run again, as a whole, unless it failed too often; return whether it will."""
        arm.failures, arm.why = arm.failures + 1, why
        self._end_attempt(arm, host, why)
        self._say(f"{arm.key}: attempt {arm.failures} of {MOST_FAILURES} failed on {host or 'a host'}: {why}")
        if arm.failures < MOST_FAILURES:
            return True
        self._give_up(arm, f"failed {arm.failures} times, the last: {why}")
        return False

    def _moved(self, arm: ArmState, delivery: Delivery) -> bool:
        """Measure a pair anew on an unlike host where its own is gone; return False where that is no way out.

        A difference of hosts would be measured as compression.
        """
        first = arm.earlier[0]
        if not arm.run.same_host or any(host.node == first.node for host in self.engine.hosts()):
            return False
        why = f"its host {first.host} is gone, and {delivery.host} is unlike it: {delivery.end.error}"
        self._end_attempt(arm, delivery.host, why)
        self._say(f"{arm.key}: {why}; the baseline runs again there")
        open_runs = [run for run in self.runs if run.result is None and first in run.arms]
        for again in {other for run in open_runs for other in run.arms if other.state == "done"}:
            self.folder.forget(again.key)
            self._data.pop(again.key, None)
            again.state, again.why = "waiting", why
        arm.why, first.wanted = why, delivery.node
        return True

    def _give_up(self, arm: ArmState, error: str) -> None:
        arm.state, arm.error = "given up", error
        self._say(f"{arm.key}: given up: {error}")
        for run in self.runs:
            self._conclude_if_done(run)

    def _conclude_if_done(self, run: RunState) -> None:
        """Judge a run whose arms are all done, or of which one was given up, unless it is judged."""
        broken = [arm for arm in run.arms if arm.state == "given up"]
        if run.result is not None or not (broken or all(arm.state == "done" for arm in run.arms)):
            return
        if any(arm.state == "given" for arm in run.arms):
            return
        try:
            run.result = self._judged(run, [f"{arm.label}: {arm.error}" for arm in broken])
        except (HarnessError, OSError) as error:
            reasons = [f"it cannot be judged: {error}"]
            run.result = result_of(run, self.runs, list(self.attempts.values()), Verdict.ERROR, reasons)
        self._say(run.result.line)
        needed = {arm.key for other in self.runs if other.result is None for arm in other.arms}
        self._data = {key: data for key, data in self._data.items() if key in needed}

    def _judged(self, run: RunState, errors: list[str]) -> RunResult:
        folder, attempts = RunFolder(Path(run.run.plan.folder)), list(self.attempts.values())
        if not errors and folder.report.exists() and read_record(folder.run, RunRecord).state == FINISHED:
            # By a head before this one.
            report = read_record(folder.report, Report)
        else:
            began = [arm.attempt.began for arm in run.arms if arm.attempt]
            folder = lay(
                run.run,
                self.folder,
                {arm.name: [part.key for part in run.arms if part.name == arm.name] for arm in run.arms},
                started=min(began, default=_now()),
                errors=errors,
                notes=notes_of(run, self.runs, attempts, self.plan.fleet_id),
            )
            started = time.monotonic()
            report = self._judge(folder)
            self._remember(folder)
            self.times.judging += time.monotonic() - started
        result = result_of(run, self.runs, attempts, report.verdict, report.reasons)
        release = report.versions.get("sglang", result.release)
        return result.model_copy(update={"warnings": len(report.warnings), "release": release})

    def _note(self, arm: ArmState, attempt: Attempt) -> None:
        arm.attempt = attempt
        self.attempts[attempt.arm, attempt.number] = attempt
        self.folder.note(attempt)

    def _end_attempt(self, arm: ArmState, host: str, error: str) -> None:
        if arm.attempt is not None:
            self._note(arm, arm.attempt.model_copy(update={"host": host, "ended": _now(), "error": error}))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _told(needs: Needs) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in needs.by_name.items())
