"""Fleets of light arms: plans of the default suite over the records of one written run."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.fleet.head import Head
from harness.fleet.records import FleetFolder, FleetPlan, FleetRun, Needs
from harness.fleet.relocate import relocate
from harness.plan.plan import Plan
from tests.runs import finished
from tests.support import make

STAND_IN = ("-m", "tests.fleet.stand_in")
SERVER = Needs(cpus=0.0, resources={"harness_cpu_server": 1.0})


def written_run(tmp_path: Path) -> Plan:
    """Write a whole run, whose arms all others copy; return its plan."""
    plan = make(tmp_path / "one", noise_floor=False)
    finished(plan)
    return plan


def make_fleet(
    tmp_path: Path, runs: int, *, shared: int = 1, one: Plan | None = None, **changed: Any
) -> tuple[FleetPlan, FleetFolder]:
    """Plan a fleet of runs, of which so many after another share a baseline."""
    one = one or written_run(tmp_path)
    planned = []
    for number in range(runs):
        run_id = f"run-{number}"
        plan = relocate(one.model_copy(update={"run_id": run_id, "data": one.folder}), tmp_path / "reports" / run_id)
        planned.append(
            FleetRun(
                **{
                    "plan": plan,
                    "compression": f"codec {number}",
                    "release": "0.5.23",
                    "needs": SERVER,
                    "baseline": f"group-{number // shared}.baseline",
                    **changed,
                }
            )
        )
    folder = FleetFolder(tmp_path / "reports" / "fleet")
    folder.path.mkdir(parents=True, exist_ok=True)
    plan_of_all = FleetPlan(fleet_id="fleet", started="2026-01-02T03:04:05+00:00", matrix="a test", runs=planned)
    return plan_of_all, folder


def ledger(tmp_path: Path) -> Counter[tuple[str, str]]:
    """Return how often each arm of each run began, by the stand-in's own account."""
    file = tmp_path / "one" / "reports" / "ledger.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return Counter((line["run"], line["arm"]) for line in lines)


def check_accounts(head: Head) -> None:
    """Fail if an arm was lost, or began a second time without a reason."""
    assert all(run.result is not None for run in head.runs)
    numbers: dict[str, list[int]] = {}
    for attempt in head.folder.attempted():
        numbers.setdefault(attempt.task, []).append(attempt.number)
        assert attempt.ended, attempt
        assert (attempt.number > 1) == bool(attempt.why), attempt
    assert numbers.keys() == head.arms.keys()
    for key, its_numbers in numbers.items():
        assert its_numbers == list(range(1, len(its_numbers) + 1)), key


def saying(said: list[str]) -> Callable[[str], None]:
    return said.append
