"""What the harness itself costs a question, with a server that takes no time: ``nox -s bench -- --own-share``.

Everything is as in a run but the server, a stand-in: legs, batches, checkpoints, files brought to the disk. Its first
table is CPU time of the harness's process, by what it went into, for growing numbers of questions: time a question
that grows with them is a bug. In the second table the stand-in takes the time of a server of a named speed, and the
share is what an arm takes beyond that.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.ask.lm_eval_task import LmEvalTask
from harness.config.suite import KnownAnswer, Source
from harness.config.thresholds import Threshold
from harness.places import ROOT, TASKS
from harness.plan.plan import BASELINE, KEY_FILE, PORT, Arm, Plan, TaskPlan
from harness.plan.preflight import Sglang
from harness.prepare.data import BOOLQ, GSM8K_TEST, data_place, prepare
from harness.records.run import ArmRecord, Fingerprint, read_record
from harness.records.run_folder import RunFolder
from harness.run.arms import run_arms
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.launches import Launches
from harness.run.setup import Ready
from harness.sglang_plugin.policy import SITES
from harness.sglang_plugin.recorder import Recorder
from suites.clients.meter import AHEAD, PARTS, Meter
from suites.faults.rank_logs import SGLANG, TP
from suites.publish import Marked, Section, publish

# What the suites for NPUs send at once.
AT_ONCE = {"boolq": 32, "gsm8k": 128}
FILES = {"boolq": BOOLQ, "gsm8k": GSM8K_TEST}
METRICS = {"boolq": "acc,none", "gsm8k": "exact_match,last-number"}
SHOTS = 5
"""Rows of GSM8K that are shown and not asked."""
BAR = 0.03
LOGS_BAR = 0.01
LAYERS = 36
LOGGED = 5000
GROWTH = 1.25
"""How much more a question may take among the most questions than among the fewest."""
TEXT = """# The harness's own share

A run's own code asks a stand-in of a server, everything else being real. Milliseconds of CPU time of the harness's
process a question, by what they went into; and the share of an arm's time that is not the server's, at named
speeds."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One arm that was asked one task.

    Attributes:
        questions: How many.
        seconds: What the arm says that the task took.
        waited: Of these, those in which a request was under way.
        cpu: CPU time of the harness's process in it, in seconds, by part.
        disk: Seconds in which it waited for the disk.
        memory: What the process held more than before, at the most, in MB.
    """

    questions: int
    seconds: float
    waited: float
    cpu: dict[str, float]
    disk: float
    memory: float

    @property
    def cpu_ms(self) -> float:
        """CPU time a question, in milliseconds."""
        return 1000 * sum(self.cpu.values()) / self.questions

    @property
    def waited_for_ms(self) -> float:
        """The same without what is done as the server is at work."""
        return self.cpu_ms - 1000 * self.cpu[AHEAD] / self.questions


def ask(name: str, questions: int, *, speed: float = 0.0) -> Asked:
    """Have one arm, its server a stand-in, asked so many questions of a task.

    Args:
        name: The task.
        questions: How many; the packaged rows again and again.
        speed: Questions a second that the stand-in answers; 0 for as many as it can.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        _write_data(place / "data", name, questions)
        plan = _plan(place, name, questions, speed)
        task = LmEvalTask(name, plan.tasks[name], Path(plan.data))
        # As a run does before its first server starts.
        task.contents()
        folder = RunFolder(Path(plan.folder))
        folder.path.mkdir(parents=True)
        ready = Ready(
            plan=plan,
            folder=folder,
            sglang=Sglang(version=SGLANG, settings=frozenset({"dtype"}), packages="none", plugin="none"),
            questionnaires=[task],
            fingerprint=Fingerprint(facts={}),
        )
        held = _peak_mb()
        with Meter() as meter, Launches(ready) as launches:
            run_arms(
                ready,
                launches,
                plan.arms,
                Display(Console(stderr=True)),
                Watch(plan.deadlines),
                before_end=lambda _error: None,
            )
        record = read_record(folder.arm(BASELINE).record, ArmRecord).tasks[name]
        if record.spent is None:
            raise RuntimeError("the arm does not say what its time went into")
        return Asked(
            questions=questions,
            seconds=record.seconds,
            waited=record.spent.waited,
            cpu=meter.cpu,
            disk=meter.disk,
            memory=_peak_mb() - held,
        )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write_data(data: Path, name: str, questions: int) -> None:
    packaged = data_place(Source.PACKAGED)
    prepare(Source.PACKAGED, packaged)
    rows = (packaged / FILES[name]).read_text(encoding="utf-8").splitlines(keepends=True)
    file = data / FILES[name]
    file.parent.mkdir(parents=True)
    file.write_text("".join([*rows[:SHOTS], *islice(cycle(rows[SHOTS:]), questions)]), encoding="utf-8")


def _plan(place: Path, name: str, questions: int, speed: float) -> Plan:
    """Return the plan of one arm, its server the stand-in."""
    folder = place / "run"
    engagement = folder / BASELINE / "engagement"
    arm = Arm(
        name=BASELINE,
        compressed=False,
        argv=[
            *(sys.executable, "-m", "suites.clients.stand_in", f"--speed={speed}"),
            *("--port", PORT, "--config", KEY_FILE),
        ],
        env={"HARNESS_PLUGIN_DIR": str(engagement), "HARNESS_PLUGIN_CODEC": "none", "PYTHONPATH": str(ROOT)},
        engagement=str(engagement),
    )
    task = TaskPlan(
        file=str(TASKS / f"{name}.yaml"),
        questions=questions,
        concurrency=AT_ONCE[name],
        max_new_tokens=None,
        threshold=Threshold(metric=METRICS[name], source="this benchmark", report_only=True),
    )
    return Plan(
        run_id="run",
        suite="own-share",
        device="cpu",
        model="none",
        model_path="none",
        tp=TP,
        server_python=sys.executable,
        folder=str(folder),
        data=str(place / "data"),
        data_manifest={},
        arms=[arm],
        tasks={name: task},
        fidelity=None,
        known_answer=KnownAnswer(prompt="The capital of France is", right=" Paris", wrong=" banana"),
        start_timeout_s=60,
        request_timeout_s=120,
        port=None,
        repeat="nox -s bench -- --own-share",
    )


def by_part(name: str, asked: Sequence[Asked]) -> Section:
    """Return a task's table of what a question costs, in a column for each number of questions."""
    head = ["ms a question", *(f"{one.questions:,} questions" for one in asked)]
    rows = [
        [Marked(part), *(Marked(f"{1000 * one.cpu[part] / one.questions:.3f}") for one in asked)] for part in PARTS
    ]
    grows = asked[-1].cpu_ms > GROWTH * asked[0].cpu_ms
    rows.append([Marked("all CPU time"), *(Marked(f"{one.cpu_ms:.3f}", "red" if grows else "") for one in asked)])
    rows.append([Marked("all but the next batch"), *(Marked(f"{one.waited_for_ms:.3f}") for one in asked)])
    rows.append(
        [Marked("waiting for the disk"), *(Marked(f"{1000 * one.disk / one.questions:.3f}") for one in asked)]
    )
    rows.append([Marked("memory, MB"), *(Marked(f"{one.memory:.0f}") for one in asked)])
    return Section(
        title=f"{name}, {AT_ONCE[name]} questions in a request",
        words="The next batch is prepared as the server is at work on this one: a slower one does not wait for it.",
        head=head,
        rows=rows,
    )


def by_speed(name: str, timed: Sequence[tuple[float, Asked]]) -> Section:
    """Return a task's table of the harness's share of an arm's time at named speeds of its server."""
    rows = []
    for speed, one in timed:
        own = one.seconds - one.questions / speed
        rows.append(
            [
                Marked(f"{speed:g}"),
                Marked(f"{one.questions}"),
                Marked(f"{one.seconds:.1f}"),
                Marked(f"{1000 * own / one.questions:.2f}"),
                Marked(f"{100 * own / one.seconds:.1f} %", "" if own < BAR * one.seconds else "red"),
                Marked(f"{100 * (1 - one.waited / one.seconds):.1f} %"),
            ]
        )
    head = ["server's questions/s", "questions", "seconds", "own ms a question", "share", "nothing under way"]
    return Section(
        title=f"{name}: share of an arm's time",
        words=f"Bar: {BAR:.0%}. What is beyond the server's own time is ours, requests and tokenizing included.",
        head=head,
        rows=rows,
    )


def log_ms() -> dict[str, float]:
    """Return what the line in a rank's log costs a forward pass, in milliseconds of CPU time; no live check."""
    with tempfile.TemporaryDirectory() as scratch:
        recorder = Recorder(Path(scratch))
        recorder.start(0, {})

        def prefill() -> None:
            with recorder.forward("EXTEND", 8192):
                for layer, site in product(range(LAYERS), SITES):
                    recorder.count(
                        site, layer=layer, how="int8_token one_shot", quantized=True, elements=2**25, wire_bytes=2**25
                    )

        def decode() -> None:
            with recorder.forward("DECODE", 32):
                pass

        found = {}
        for name, one in ((f"prefill, {LAYERS} layers compressed", prefill), ("decode", decode)):
            began = time.thread_time()
            for _ in range(LOGGED):
                one()
            found[name] = 1000 * (time.thread_time() - began) / LOGGED
        return found


def logs(costs: Mapping[str, float]) -> Section:
    """Return the table of what a rank's log costs."""
    rows = [[Marked(name), Marked(f"{cost:.3f}"), Marked(f"{cost / LOGS_BAR:.1f}")] for name, cost in costs.items()]
    return Section(
        title="The ranks' logs",
        words=f"Bar: {LOGS_BAR:.0%} of a pass; it is met by all that take longer than the last column.",
        head=["forward pass", "ms for its line", "bar met from, ms a pass"],
        rows=rows,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, or 1 where a question costs more among many."""
    parser = argparse.ArgumentParser(prog="nox -s bench -- --own-share", description=__doc__, allow_abbrev=False)
    parser.add_argument("--questions", type=int, nargs="+", default=[500, 5000, 20000])
    parser.add_argument("--speeds", type=float, nargs="*", default=[3, 30, 100, 300])
    parser.add_argument("--tasks", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long an arm of a named speed takes")
    chosen = parser.parse_args(arguments)
    sections, grows = [], False
    data: dict[str, Any] = {}
    for name in chosen.tasks:
        asked = []
        for questions in chosen.questions:
            asked.append(ask(name, questions))
            tell(f"{name}, {questions} questions: {asked[-1].cpu_ms:.3f} ms a question")
        timed = []
        for speed in chosen.speeds:
            # Whole batches.
            questions = max(1, round(speed * chosen.seconds / AT_ONCE[name])) * AT_ONCE[name]
            timed.append((speed, ask(name, questions, speed=speed)))
            tell(f"{name} at {speed:g} questions/s: {timed[-1][1].seconds:.2f} s for {questions / speed:.2f}")
        sections += [by_part(name, asked), *([by_speed(name, timed)] if timed else [])]
        grows |= asked[-1].cpu_ms > GROWTH * asked[0].cpu_ms
        data[name] = {
            "at once": [vars(one) for one in asked],
            "at a speed": [{"speed": speed, **vars(one)} for speed, one in timed],
        }
    data["logs"] = log_ms()
    sections.append(logs(data["logs"]))
    publish("bench-own-share", TEXT, data=data, sections=sections)
    return 1 if grows else 0


def tell(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
