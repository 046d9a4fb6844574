"""Ray itself, as several nodes on this machine: arms go there and come back, and nodes end."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.fleet.cluster import connected
from harness.fleet.head import Head
from harness.fleet.on_host import host_environment
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from tests.fleet.fleets import STAND_IN, check_accounts, ledger, make_fleet, written_run
from tests.fleet.nodes import add_node, first_node

# Ray's own processes and sockets outlive the test that began them by a moment.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATIENCE_S = 120


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Give a cluster whose first node has no room for arms, as a rack's head."""
    made = first_node()
    yield made
    made.shutdown()


@pytest.fixture
def one(tmp_path: Path) -> Plan:
    return written_run(tmp_path)


def test_arms_run_in_processes_of_their_hosts_each_once(tmp_path: Path, one: Plan, cluster: Any) -> None:
    for _ in range(2):
        add_node(cluster)
    plan, folder = make_fleet(tmp_path, 3, shared=2, one=one)
    said: list[str] = []
    with connected(cluster.address) as ray:
        head = Head(plan, folder, ray, say=said.append, command=STAND_IN)
        report = head.work()
    check_accounts(head)
    assert {run.verdict for run in report.runs} == {"PASS"}, report.runs
    assert sum(ledger(tmp_path).values()) == 5, ledger(tmp_path)
    assert len(head.folder.attempted()) == 5
    # Each pair on one node.
    nodes = {key: place.node for key in head.arms if (place := folder.place(key))}
    assert nodes["run-0.compressed"] == nodes["run-1.compressed"] == nodes["group-0.baseline"]
    assert (tmp_path / "reports" / "run-2" / "compressed" / "engagement" / "rank-1.jsonl").exists()


@pytest.mark.campaign
def test_a_node_that_ends_changes_nothing_but_attempts(tmp_path: Path, one: Plan, cluster: Any) -> None:
    (tmp_path / "one" / "reports" / "slow.txt").write_text("4")
    nodes = {node.node_id: node for node in (add_node(cluster), add_node(cluster))}
    plan, folder = make_fleet(tmp_path, 1, one=one)
    done = threading.Event()

    def end_a_node() -> None:
        deadline = time.monotonic() + PATIENCE_S
        # The compressed arm's: then its pair is split.
        while ledger(tmp_path)["run-0", "compressed"] == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        if (place := folder.place("group-0.baseline")) is not None:
            cluster.remove_node(nodes[place.node], allow_graceful=False)
            done.set()

    killer = threading.Thread(target=end_a_node)
    killer.start()
    said: list[str] = []
    with connected(cluster.address) as ray:
        head = Head(plan, folder, ray, say=said.append, command=STAND_IN, no_host_s=PATIENCE_S)
        report = head.work()
    killer.join()
    assert done.is_set()
    check_accounts(head)
    assert [run.verdict for run in report.runs] == ["PASS"], said
    # The baseline's host is gone; another one is like it, so that it stands.
    assert ledger(tmp_path) == {("run-0", "baseline"): 1, ("run-0", "compressed"): 2}, said
    assert report.runs[0].again
    assert all("compressed: attempt" in text for text in report.runs[0].again)
    assert report.runs[0].again[0] in " ".join(read_notes(tmp_path / "reports" / "run-0"))


@pytest.mark.campaign
def test_a_head_that_is_interrupted_leaves_no_process_and_no_file_on_a_host(
    tmp_path: Path, one: Plan, cluster: Any
) -> None:
    (tmp_path / "one" / "reports" / "slow.txt").write_text("600")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    add_node(cluster, TMPDIR=str(scratch))
    plan, folder = make_fleet(tmp_path, 1, one=one)
    seen: list[Path] = []

    def interrupt(_head: Head) -> None:
        if ledger(tmp_path):
            seen.extend(scratch.glob("harness-fleet-*"))
            raise KeyboardInterrupt

    def run() -> None:
        with connected(cluster.address) as ray:
            Head(plan, folder, ray, say=print, command=STAND_IN, show=interrupt).work()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert seen
    assert not list(scratch.glob("harness-fleet-*"))
    assert not [process for process in psutil.process_iter() if str(scratch) in " ".join(command_of(process))]
    assert folder.attempted()[0].ended == ""


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def read_notes(run: Path) -> list[str]:
    from harness.report.build import build_report  # noqa: PLC0415 - as light as the rest

    return build_report(RunFolder(run)).notes


def test_rays_own_count_of_threads_reaches_no_server(tmp_path: Path) -> None:
    at_start = tmp_path / "environ"
    at_start.write_bytes(b"PATH=/bin\0")
    now = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "3"}
    assert host_environment(now, at_start) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "3"}
    at_start.write_bytes(b"PATH=/bin\0OMP_NUM_THREADS=1\0")
    assert host_environment(now, at_start) == now
