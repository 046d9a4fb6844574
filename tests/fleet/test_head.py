"""The head by itself, over hosts that are only counted: what is given to whom, what runs again, what is judged."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.fleet import head as head_module
from harness.fleet.head import Head
from harness.fleet.records import FleetFolder, FleetPlan
from harness.fleet.report import FleetReport
from harness.fleet.table import fleet_table
from harness.plan.plan import Plan
from harness.records.arm_end import DIED, DONE, REFUSED
from harness.records.run import read_record
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.model import Report
from harness.run.pipeline import report_on
from tests.fleet.fleets import check_accounts, make_fleet, saying, written_run
from tests.fleet.simulated import SimulatedCluster


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return written_run(tmp_path_factory.mktemp("one"))


def run(plan: FleetPlan, folder: FleetFolder, cluster: SimulatedCluster, **options: Any) -> tuple[Head, FleetReport]:
    # Without pages and plots of the runs, where none is looked at.
    head = Head(plan, folder, cluster, say=saying([]), **{"judge": build_report, **options})
    return head, head.work()


def test_every_arm_runs_once_and_a_baseline_serves_all_that_share_it(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 6, shared=3, one=one)
    cluster = SimulatedCluster(["alike"] * 4)
    head, report = run(plan, folder, cluster)
    check_accounts(head)
    begun = [key for key, _node in cluster.begun]
    assert sorted(begun) == sorted(
        ["group-0.baseline", "group-1.baseline", *(f"run-{n}.compressed" for n in range(6))]
    )
    # Each pair on one host.
    where = dict(cluster.begun)
    assert all(where[f"run-{n}.compressed"] == where[f"group-{n // 3}.baseline"] for n in range(6))
    assert [run.shared for run in report.runs if run.run_id == "run-0"] == [["run-1", "run-2"]]
    assert report.resume == ""
    assert read_record(folder.report, FleetReport) == report


@pytest.mark.parametrize("seed", range(4))
def test_hosts_that_end_at_random_lose_nothing_and_nothing_runs_twice_without_a_reason(
    tmp_path: Path, one: Plan, seed: int
) -> None:
    plan, folder = make_fleet(tmp_path, 8, shared=2, one=one)
    kinds = ["alike"] * 3 if seed % 2 else ["one", "one", "other", "other"]
    cluster = SimulatedCluster(kinds, kill=0.25, seed=seed, name="vm" if seed > 1 else "")
    head, report = run(plan, folder, cluster)
    check_accounts(head)
    assert cluster.killed
    assert all(attempt.host for attempt in head.folder.attempted() if "NodeDied" in attempt.error)
    # What Ray was given is what was written down, but for what found its host gone.
    begun = [attempt.task for attempt in head.folder.attempted() if "did not begin" not in attempt.error]
    assert sorted(begun) == sorted(key for key, _node in cluster.begun)
    for run_report in report.runs:
        laid = RunFolder(tmp_path / "reports" / run_report.run_id)
        if run_report.verdict == "ERROR":
            assert "failed 3 times" in run_report.reasons[0]
        else:
            # No pair over unlike hosts, whatever happened.
            assert (
                laid.fingerprint.read_text()
                == RunFolder(folder.arm(f"{run_report.run_id}.compressed")).fingerprint.read_text()
            )


def test_a_fleets_report_is_a_single_hosts_for_the_same_records(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 1, one=one)
    run(plan, folder, SimulatedCluster(["alike"]), judge=report_on)
    single = build_report(RunFolder(Path(one.folder)))
    laid = read_record(RunFolder(tmp_path / "reports" / "run-0").report, Report)
    # Times and places: when it began, how long all of it took, where its files are.
    apart = {"run_id", "started", "timings", "time", "versions", "repeat", "rebuild", "notes", "arms"}
    assert laid.model_dump(exclude=apart) == single.model_dump(exclude=apart)
    for name, arm in single.arms.items():
        assert laid.arms[name].model_dump(exclude={"command"}) == arm.model_dump(exclude={"command"})
        moved = arm.command.replace(one.folder, str(tmp_path / "reports" / "run-0"))
        assert laid.arms[name].command == moved
    assert laid.notes[-len(single.notes) :] == single.notes[-len(single.notes) :]
    assert {name: seconds for name, seconds in laid.timings.items() if name != "total"} == {
        name: seconds for name, seconds in single.timings.items() if name != "total"
    }
    assert (tmp_path / "reports" / "run-0" / "report.html").exists()
    assert "../run-0/report.html" in folder.page.read_text()


def test_a_fleet_that_was_stopped_goes_on_with_what_is_left(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 5, one=one)

    class Stopped(SimulatedCluster):
        def wait(self, handles: Any, timeout_s: float) -> Any:
            if len(self.begun) > 6:
                raise KeyboardInterrupt
            return super().wait(handles, timeout_s)

    stopped = Stopped(["alike"] * 2)
    with pytest.raises(KeyboardInterrupt):
        run(plan, folder, stopped)
    assert "--resume" in read_record(folder.report, FleetReport).resume
    done = {key for key in ("run-0.compressed", "group-0.baseline") if folder.place(key)}
    with folder.attempts.open("a") as cut_off:
        cut_off.write('{"arm": "run-')
    cluster = SimulatedCluster(["alike"] * 2, seed=1)
    head, report = run(plan, folder, cluster)
    check_accounts(head)
    assert done
    again = {key for key, _node in stopped.begun} & {key for key, _node in cluster.begun}
    assert again == {attempt.task for attempt in head.folder.attempted() if attempt.number > 1}
    assert not again & done
    assert {attempt.why for attempt in head.folder.attempted() if attempt.number > 1} == {head_module.STOPPED}
    assert report.resume == ""


def test_a_pair_over_unlike_hosts_is_refused_with_the_difference(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 1, one=one, same_host=False)
    cluster = SimulatedCluster(["one", "two", "three", "four"])
    _head, report = run(plan, folder, cluster)
    assert len({node for _key, node in cluster.begun}) == 2, "both went to one host: choose another seed"
    assert [run.verdict for run in report.runs] == ["ERROR"]
    assert "machine: now: " in report.runs[0].reasons[0]
    assert report.exit_code == 3


def test_a_pair_whose_host_is_gone_is_measured_anew_where_the_others_are_unlike(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 2, shared=2, one=one)

    class Renewed(SimulatedCluster):
        def delivery(self, handle: Any) -> Any:
            found = super().delivery(handle)
            if not self.killed:
                self.kill(found.node, kind="new")
            return found

    cluster = Renewed(["old"])
    head, report = run(plan, folder, cluster)
    check_accounts(head)
    assert [key for key, _node in cluster.begun].count("group-0.baseline") == 2
    assert all(run.verdict != "ERROR" for run in report.runs)
    assert '"new"' in RunFolder(tmp_path / "reports" / "run-0").fingerprint.read_text()
    assert any("is gone, and host of node-1 is unlike it" in text for run in report.runs for text in run.again)


def test_a_server_that_died_is_started_again_and_that_is_told(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 1, one=one)
    left = [1]

    def spoil(order: Any) -> Any:
        if order.arm == "compressed" and left.pop() if left else False:
            return DIED, "compressed: the server ended with exit code 9"
        return None

    head, report = run(plan, folder, SimulatedCluster(["alike"], spoil=spoil))
    check_accounts(head)
    [again] = report.runs[0].again
    assert again == "compressed: attempt 2, since attempt 1 failed: compressed: the server ended with exit code 9"
    assert again in build_report(RunFolder(tmp_path / "reports" / "run-0")).notes
    assert again in folder.page.read_text()


@pytest.mark.parametrize(("outcome", "starts"), [(DIED, 3), (REFUSED, 1)])
def test_what_fails_again_and_again_or_would_be_found_again_is_an_error(
    tmp_path: Path, one: Plan, outcome: Any, starts: int
) -> None:
    plan, folder = make_fleet(tmp_path, 2, one=one)
    cluster = SimulatedCluster(
        ["alike"], spoil=lambda order: (outcome, "it is so") if order.key == "run-0.compressed" else None
    )
    _head, report = run(plan, folder, cluster)
    assert [key for key, _node in cluster.begun].count("run-0.compressed") == starts
    assert (report.runs[0].verdict, report.runs[0].run_id) == ("ERROR", "run-0")
    assert "it is so" in report.runs[0].reasons[0]
    # Resumed, it has its three attempts anew, and the other run is left alone.
    cluster = SimulatedCluster(["alike"])
    _head, report = run(plan, folder, cluster)
    assert [key for key, _node in cluster.begun] == ["run-0.compressed"]
    assert folder.end("run-0.compressed").outcome == DONE
    assert all(run.verdict != "ERROR" for run in report.runs)


def test_higher_priorities_come_first_and_pairs_are_finished_before_others_begin(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 3, one=one)
    first = [run.model_copy(update={"priority": number == 2}) for number, run in enumerate(plan.runs)]
    cluster = SimulatedCluster(["alike"])
    run(plan.model_copy(update={"runs": first}), folder, cluster)
    assert [key for key, _node in cluster.begun] == [
        f"{what}" for number in (2, 0, 1) for what in (f"group-{number}.baseline", f"run-{number}.compressed")
    ]


def test_an_arm_that_no_host_can_take_is_given_up(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 1, one=one)
    _head, report = run(plan, folder, SimulatedCluster([]), no_host_s=0.0)
    assert report.runs[0].reasons[0].startswith("baseline: no host with 1 harness_cpu_server was up")
    assert report.exit_code == 3


def test_the_table_says_of_each_arm_where_it_is(tmp_path: Path, one: Plan) -> None:
    plan, folder = make_fleet(tmp_path, 2, one=one)
    head, _report = run(plan, folder, SimulatedCluster(["alike"]))
    head.arms["run-1.compressed"].state = "given"
    terminal = Console(width=200, record=True, file=StringIO())
    terminal.print(fleet_table(head))
    told = terminal.export_text()
    assert "1 given, 3 done; 2 hosts" in told
    rows = [line for line in told.splitlines() if "compressed" in line]
    assert ["given" in row for row in rows] == [True, False]
    assert all("smollm2-cpu" in row and "PASS" in row and "host of node-0" in row for row in rows)
