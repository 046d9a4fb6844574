"""Shards: what they leave together is what one server leaves, and a fleet of them is judged as one run."""

from collections.abc import Callable, Hashable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.fleet.head import Head
from harness.fleet.lay import lay
from harness.fleet.on_host import Delivery
from harness.fleet.records import FleetFolder, FleetRun
from harness.fleet.relocate import relocate
from harness.fleet.shards import merge_records
from harness.plan.plan import Plan, Shard
from harness.records.arm_end import DONE, REFUSED
from harness.records.run import ArmRecord, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.run import pipeline
from harness.run.checkpoint import legs, share
from harness.run.display import Display
from harness.run.one_arm import run_arm
from tests.fleet.fleets import SERVER, check_accounts, make_fleet, written_run
from tests.fleet.simulated import SimulatedCluster
from tests.support import run_folder, write_model

MakePlan = Callable[..., Plan]


@pytest.mark.parametrize("questions", [1, 16, 17, 100, 128])
@pytest.mark.parametrize("of", [2, 3, 5])
def test_shards_are_whole_legs_of_which_each_is_asked_once_and_in_order(questions: int, of: int) -> None:
    whole = legs(range(questions), 16)
    parts = [share(whole, Shard(number=number, of=of)) for number in range(of)]
    assert [leg for part in parts for leg in part] == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.usefixtures("no_sglang", "no_strays")
def test_two_shards_of_real_processes_leave_what_one_server_leaves(
    fake_plan: MakePlan, tmp_path: Path, display: Display
) -> None:
    plan = fake_plan()
    boolq = plan.tasks["boolq"].model_copy(update={"questions": 40})
    plan = plan.model_copy(
        update={"model_path": str(write_model(tmp_path / "model")), "tasks": {**plan.tasks, "boolq": boolq}}
    )
    single = pipeline.run(plan, display)
    fleet = FleetFolder(tmp_path / "fleet")
    keys: dict[str, list[str]] = {"baseline": [], "compressed": []}
    for number in range(2):
        before = 0.0
        for arm, its_keys in keys.items():
            key = f"{arm}.{number}"
            its_keys.append(key)
            folder = fleet.arm(key)
            folder.mkdir(parents=True)
            moved = relocate(plan, folder).model_copy(update={"shard": Shard(number=number, of=2)})
            write_record(RunFolder(folder).plan, moved)
            if arm == "compressed":
                (folder / "baseline").symlink_to(fleet.arm(f"baseline.{number}") / "baseline")
            assert run_arm(moved, arm, display, before=before).outcome == DONE
            before = read_record(RunFolder(folder).arm(arm).record, ArmRecord).until
    elsewhere = relocate(plan, tmp_path / "laid" / "run")
    run = FleetRun(plan=elsewhere, compression="", release="", shards=2, needs=SERVER, baseline="baseline")
    laid = lay(run, fleet, keys, started="then", errors=[], notes=[])
    report = build_report(laid)
    assert (report.verdict, report.reasons, report.warnings) == (single.verdict, single.reasons, single.warnings)
    assert report.fidelity == single.fidelity
    for arm in keys:
        for name in ("samples-boolq.jsonl", "samples-gsm8k.jsonl", "fidelity.jsonl"):
            assert (laid.path / arm / name).read_bytes() == (run_folder(plan).path / arm / name).read_bytes()
        assert len(read_record(laid.arm(arm).record, ArmRecord).starts) == 2
    # The known answer is asked of each server: the rest of the traffic is the same.
    traffic = [report.arms[arm].traffic for arm in keys]
    assert traffic[0] == traffic[1]
    assert read_record(laid.plan, Plan).shard is None


def test_shards_of_unlike_servers_are_refused() -> None:
    one = ArmRecord(server_args={"dtype": "float32"}, known_answer=True, seconds_to_ready=1.0)
    other = one.model_copy(update={"server_args": {"dtype": "bfloat16"}})
    with pytest.raises(HarnessError, match="shard 1 has another dtype"):
        merge_records([one, other], began=0.0)


def test_a_sharded_run_has_a_pair_for_each_shard(tmp_path: Path) -> None:
    plan, folder = make_fleet(tmp_path, 1, one=written_run(tmp_path), shards=3)
    cluster = SimulatedCluster(["alike"] * 3)
    head = Head(plan, folder, cluster, say=print, judge=build_report)
    report = head.work()
    check_accounts(head)
    where = dict(cluster.begun)
    assert len(where) == 6
    for number in range(3):
        assert where[f"group-0.baseline.{number}"] == where[f"run-0.compressed.{number}"]
    assert len({node for key, node in cluster.begun if "baseline" in key}) == 3
    # Here each left the answers to all questions, and not to its own.
    assert report.runs[0].verdict == "ERROR"


def test_a_pair_that_is_measured_anew_leaves_the_other_shards_as_they_are(tmp_path: Path) -> None:
    plan, folder = make_fleet(tmp_path, 1, one=written_run(tmp_path), shards=3)

    class Renewed(SimulatedCluster):
        def delivery(self, handle: Hashable) -> Delivery:
            found = super().delivery(handle)
            # When all baselines are there, the host of one is gone, and what comes up for it is unlike it.
            if not self.killed and len(self.begun) == 6:
                [node] = [node for key, node in self.begun if key == "group-0.baseline.0"]
                self.kill(node, kind="new")
            return found

    cluster = Renewed(["one", "two", "three"])
    Head(plan, folder, cluster, say=print, judge=build_report).work()
    begun = [key for key, _node in cluster.begun]
    assert [begun.count(f"group-0.baseline.{number}") for number in range(3)] == [2, 1, 1]


def test_a_shard_that_is_given_up_ends_its_run_and_the_others_are_not_begun(tmp_path: Path) -> None:
    plan, folder = make_fleet(tmp_path, 2, one=written_run(tmp_path), shards=2)
    cluster = SimulatedCluster(
        ["alike"], spoil=lambda order: (REFUSED, "it is so") if order.key == "group-0.baseline.0" else None
    )
    report = Head(plan, folder, cluster, say=print, judge=build_report).work()
    [refused] = [run for run in report.runs if run.run_id == "run-0"]
    assert refused.reasons[0] == "baseline (shard 0): it is so"
    assert [key for key, _node in cluster.begun if key.startswith(("run-0", "group-0"))] == ["group-0.baseline.0"]
