"""The head of a fleet: gives arms to hosts, runs again what was lost, lays runs together and judges them."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.fleet.dispatch import NO_HOST_S, Dispatcher, moment
from harness.fleet.engine import Engine, Host
from harness.fleet.lay import lay
from harness.fleet.on_host import ARM_COMMAND, ArmOrder, Delivery
from harness.fleet.records import FleetFolder, FleetPlan, FleetRun, resume_command
from harness.fleet.report import NOT_DONE, FleetReport, RunResult, verdict_of, worst_first, write_fleet
from harness.fleet.results import notes_of, result_of
from harness.fleet.state import ArmState, RunState, Times
from harness.judge.verdict import EXIT_CODES, Verdict
from harness.plan.plan import BASELINE, Shard
from harness.records.arm_end import DIED, DONE, UNLIKE
from harness.records.run import FINISHED, ArmRecord, RunRecord, read_record, write_whole
from harness.records.run_folder import RunFolder
from harness.report.model import Report
from harness.run.pipeline import report_on

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
        self._command = command
        self.times = Times()
        self.dispatcher = Dispatcher[ArmState](
            engine,
            order_of=self._order,
            node_of=self._node,
            note=folder.note,
            say=say,
            no_host_s=no_host_s,
            attempts=folder.attempted(),
        )
        self.attempts = self.dispatcher.attempts
        self.arms: dict[str, ArmState] = {}
        self.runs = [self._run_state(run) for run in plan.runs]
        self._data: dict[str, object] = {}
        self._mend()

    def work(self) -> FleetReport:
        """Run every arm that is not done, judge every run, and report.

        Raises:
            HarnessError: A file of the fleet's own cannot be written.
        """
        try:
            self._conclude()
            while any(run.result is None for run in self.runs):
                self.dispatcher.give_out(self._ready())
                if (ended := self.dispatcher.next_ended()) is not None:
                    self._ended(*ended)
                self._conclude()
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
            head_seconds=seconds - self.dispatcher.waited - self.times.judging,
            judging_seconds=self.times.judging,
            verdict=verdict,
            exit_code=EXIT_CODES[verdict],
            dashboard=self.engine.dashboard,
            runs=runs,
            attempts=attempts,
            resume=resume_command(self.folder.path) if any(run.verdict == NOT_DONE for run in runs) else "",
        )

    def seconds_left(self) -> float | None:
        """Return about how long the fleet will still take; None as long as no arm is done."""
        if not self.times.arms:
            return None
        arms = {arm for run in self.runs if run.result is None for arm in run.arms}
        left = sum(arm.state in ("waiting", "given") for arm in arms)
        return sum(self.times.arms) / len(self.times.arms) * left / max(1, len(self.dispatcher.given))

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
        state = ArmState(
            key=key, needs=run.needs, name=name, run=run, shard=shard, earlier=earlier, order=len(self.arms)
        )
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
                error = "" if self.arms[attempt.task].state == "done" else STOPPED
                self.attempts[place] = attempt.model_copy(update={"ended": moment(), "error": error})
        # Whole: a head that was killed may have left half a line.
        lines = "".join(attempt.model_dump_json() + "\n" for attempt in self.attempts.values())
        write_whole(self.folder.attempts, lines)

    def _ready(self) -> list[ArmState]:
        """Return the arms that a host can have: higher priorities first, then what a pair lacks."""
        ready = {arm for run in self.runs if run.result is None for arm in run.arms if arm.ready}
        return sorted(ready, key=lambda arm: (-arm.run.priority, not arm.earlier, arm.order))

    def _node(self, arm: ArmState, hosts: Sequence[Host]) -> str | None:
        """Return the node that an arm has to run on: its pair's, as long as that is up; None for any."""
        first = arm.earlier[0] if arm.earlier and arm.run.same_host else None
        node, name = (first.node, first.host) if first else (arm.wanted, "")
        able = [host for host in hosts if host.takes(arm.run.needs)]
        # By its name where Ray was started anew there.
        up = [host for host in able if host.node == node] or [host for host in able if name and host.name == name]
        return up[0].node if up else None

    def _order(self, arm: ArmState) -> tuple[ArmOrder, list[object]]:
        """Return what an arm's host is told, and the earlier arms that it needs, as the engine has them."""
        arm.against = arm.numbers
        first = arm.earlier[0] if arm.earlier else None
        order = ArmOrder(
            key=arm.key,
            plan=arm.run.plan.model_copy(update={"shard": arm.shard}),
            arm=arm.name,
            before=self._until(arm.earlier[-1]) if arm.earlier else 0.0,
            fingerprint=RunFolder(self.folder.arm(first.key)).fingerprint.read_bytes() if first else None,
            command=self._command,
        )
        for earlier in arm.earlier:
            if earlier.key not in self._data:
                self._data[earlier.key] = self.engine.put(self.folder.files(earlier.key, earlier.name))
        return order, [self._data[earlier.key] for earlier in arm.earlier]

    def _until(self, arm: ArmState) -> float:
        return read_record(RunFolder(self.folder.arm(arm.key)).arm(arm.name).record, ArmRecord).until

    def _ended(self, arm: ArmState, delivery: Delivery) -> None:
        dispatcher, end = self.dispatcher, delivery.end
        if not arm.current or arm.against != arm.numbers:
            why = "the baseline was measured anew meanwhile"
            dispatcher.again(arm, why, arm.host, why)
        elif end.outcome == DONE:
            self.folder.keep(arm.key, delivery)
            self.times.arms.append(end.seconds)
            dispatcher.done(arm, end.seconds)
        elif end.outcome == UNLIKE and self._moved(arm, delivery):
            pass
        elif end.outcome == DIED:
            if not dispatcher.failed(arm, end.error, arm.host):
                self.folder.keep(arm.key, delivery)
        else:
            self.folder.keep(arm.key, delivery)
            dispatcher.refuse(arm, end.error)

    def _moved(self, arm: ArmState, delivery: Delivery) -> bool:
        """Measure a pair anew on an unlike host where its own is gone; return False where that is no way out.

        A difference of hosts would be measured as compression.
        """
        first = arm.earlier[0]
        if not arm.run.same_host or any(host.node == first.node for host in self.engine.hosts()):
            return False
        why = f"its host {first.host} is gone, and {delivery.host} is unlike it: {delivery.end.error}"
        self.dispatcher.again(arm, why, delivery.host, why)
        self._say(f"{arm.key}: {why}; the baseline runs again there")
        open_runs = [run for run in self.runs if run.result is None and first in run.arms]
        # Other shards are pairs of their own, and their hosts are there.
        theirs = {other for run in open_runs for other in run.arms if other is first or first in other.earlier}
        for again in {other for other in theirs if other.state == "done"}:
            self.folder.forget(again.key)
            self._data.pop(again.key, None)
            again.state, again.why = "waiting", why
        first.wanted = delivery.node
        return True

    def _conclude(self) -> None:
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
                started=min(began, default=moment()),
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
