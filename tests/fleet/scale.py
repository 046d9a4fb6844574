"""How much the head works for each arm, over many hosts; and many light arms over real nodes that end at random.

    python -m tests.fleet.scale --arms 1000 --hosts 100          # hosts that are only counted
    python -m tests.fleet.scale --arms 200 --hosts 3 --ray       # nodes of Ray's on this machine, killed at random

Every arm is accounted for, or it ends with an error. Runs are laid together, and one of them is judged for all.
docs/fleet.md has what it printed.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from harness.fleet.engine import Engine
from harness.fleet.head import Head
from harness.fleet.report import FleetReport
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.model import Report
from tests.fleet.fleets import STAND_IN, check_accounts, ledger, make_fleet, written_run
from tests.fleet.simulated import SimulatedCluster

# A baseline and its two codecs.
ARMS_OF_A_BASELINE = 3
BETWEEN_KILLS_S = (8.0, 20.0)
# How long an arm takes where nodes are killed: long enough that some are hit.
ARM_S = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--kill", type=float, default=0.05, help="how likely a counted host ends with an arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs = asked.arms // ARMS_OF_A_BASELINE * 2
        plan, folder = make_fleet(Path(place), runs, shared=2, one=written_run(Path(place)))

        def work(engine: Engine, **options: Any) -> tuple[Head, FleetReport]:
            head = Head(plan, folder, engine, say=say, judge=judged_once(), **options)
            began = time.process_time()
            report = head.work()
            check_accounts(head)
            told(report, len(head.arms), time.process_time() - began)
            return head, report

        (Path(place) / "one" / "reports" / "slow.txt").write_text(str(ARM_S))
        if not asked.ray:
            simulated = SimulatedCluster(["alike"] * asked.hosts, kill=asked.kill, seed=asked.seed)
            work(simulated)
            sys.stdout.write(f"{simulated.killed} hosts ended\n")
            return
        on_ray(work, asked.hosts, asked.seed)
        sys.stdout.write(f"{sum(ledger(Path(place)).values())} starts by the arms' own account\n")


def judged_once() -> Callable[[RunFolder], Report]:
    """Return a judge that knows its first report: all runs have the same records, and the head is looked at."""
    known: list[Report] = []

    def judge(folder: RunFolder) -> Report:
        known.extend([] if known else [build_report(folder)])
        return known[0]

    return judge


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def told(report: FleetReport, arms: int, cpu: float) -> None:
    """Print what the head did."""
    verdicts = {verdict: sum(run.verdict == verdict for run in report.runs) for verdict in ("PASS", "ERROR")}
    again = sum(attempt.number > 1 for attempt in report.attempts)
    sys.stdout.write(
        f"{arms} arms of {len(report.runs)} runs in {report.seconds:.0f} s: {verdicts}; {again} attempts beyond the "
        f"first. The head worked {report.head_seconds / arms:.4f} s an arm, of its processor {cpu / arms:.4f} s\n"
    )


def on_ray(work: Any, hosts: int, seed: int) -> None:
    """Work on nodes of Ray's, of which one after the other is killed and another is started in its place."""
    from harness.fleet.cluster import connected  # noqa: PLC0415 - in an environment that has Ray
    from tests.fleet.nodes import add_node, first_node  # noqa: PLC0415

    chance = random.Random(seed)  # noqa: S311 - a campaign that can be repeated
    cluster = first_node()
    nodes = [add_node(cluster) for _ in range(hosts)]
    with connected(cluster.address) as ray, ThreadPoolExecutor() as pool:
        # Ray starts nodes from a program's first thread alone.
        worked = pool.submit(work, ray, command=STAND_IN)
        while not worked.done():
            wait([worked], chance.uniform(*BETWEEN_KILLS_S))
            if not worked.done():
                cluster.remove_node(nodes.pop(chance.randrange(hosts)), allow_graceful=False)
                sys.stdout.write("a node was killed\n")
                nodes.append(add_node(cluster))
        worked.result()
    cluster.shutdown()


if __name__ == "__main__":
    main()
