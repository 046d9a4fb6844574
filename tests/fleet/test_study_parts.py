"""A study shared out over hosts that are only counted, or over processes: what parts and study measure."""

import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.fleet.engine import Host, Said
from harness.fleet.on_host import Delivery, Files, Order, carry_out
from harness.fleet.records import Attempt, Needs
from harness.fleet.relocate import relocate
from harness.fleet.study_parts import not_measured, share_study
from harness.plan.model_folder import layers_of
from harness.plan.plan import Arm
from harness.plan.preflight import Sglang
from harness.records.arm_end import DIED, DONE, REFUSED, Outcome
from harness.records.run import read_lines
from harness.run.display import Display
from harness.study import setup
from harness.study.measure import Measurer
from harness.study.measurements import cut, independent, seconds_of
from harness.study.model import StudyReport
from harness.study.plan import Candidate, Measurement, StudyPlan, arm_name
from harness.study.records import Measured, read_measured
from harness.study.run import run_study
from harness.study.setup import ReadyStudy, set_up_study
from tests.fleet.simulated import ROOM, SimulatedCluster
from tests.study.measured import LAYERS, by_formula
from tests.study.plans import study_plan
from tests.support import write_model

STAND_IN = ("-m", "tests.fleet.part_stand_in")
RANKS = (2, 4)
CODECS = ("int8_token", "int8_hadamard", "fp8_e4m3_token")
# What a study measures by what it found: the rest can be shared.
DEPENDENT = {"spared", "mix"}
Share = Callable[[ReadyStudy], None]
# Given a cache and what shares: the study's report, all its measurements, and what its own server measured.
Study = Callable[[str, Share | None], tuple[StudyReport, list[Measured], list[Measurement]]]


class StudyHosts(SimulatedCluster):
    """Hosts of which those of the kind `alike` are like the one that a study was started on."""

    def _fingerprint(self, order: Order, kind: str) -> bytes:
        assert order.fingerprint is not None
        return order.fingerprint if kind == "alike" else b"another"

    def _files(self, order: Order, outcome: Outcome) -> Files:
        assert isinstance(order.plan, StudyPlan)
        part = order.plan.part
        # One whose server died had measured something before.
        wanted = {DONE: part, DIED: part[:3]}.get(outcome, [])
        lines: dict[str, str] = {}
        for one in wanted:
            file = f"{arm_name(one.ranks)}/measured.jsonl"
            lines[file] = lines.get(file, "") + by_formula(one).model_dump_json() + "\n"
        return {name: text.encode() for name, text in lines.items()}


class Processes:
    """An engine without Ray: each task is done in this process' guarded child, when it is given."""

    dashboard = ""

    def __init__(self) -> None:
        self._left: dict[Hashable, Delivery] = {}

    def hosts(self) -> list[Host]:
        return [Host(node="here", name="here", resources=ROOM)]

    def put(self, files: Files) -> object:
        return files

    def submit(self, order: Order, earlier: Sequence[object], needs: Needs, node: str | None) -> Hashable:
        del earlier, needs
        handle = f"{order.key}, {len(self._left)}"
        self._left[handle] = carry_out(order, (), node=node or "here", tell=lambda _text: None)
        return handle

    def wait(self, handles: Sequence[Hashable], timeout_s: float) -> Hashable | None:
        del timeout_s
        return handles[0]

    def delivery(self, handle: Hashable) -> Delivery:
        return self._left[handle]

    def said(self) -> dict[str, Said]:
        return {}


@pytest.fixture
def plan(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPlan:
    sglang = Sglang(version="fake", settings=frozenset(), packages="none", plugin="f00")
    monkeypatch.setattr(setup, "check_sglang", lambda *_, **__: sglang)
    monkeypatch.setattr("harness.study.store.cache", lambda: tmp_path / "cache")
    folder, model = tmp_path / "study", write_model(tmp_path / "model")
    (model / "config.json").write_text(json.dumps({"num_hidden_layers": LAYERS}))
    arms = [
        Arm(
            name=arm_name(ranks),
            compressed=False,
            argv=["sglang"],
            env={},
            engagement=str(folder / arm_name(ranks) / "engagement"),
        )
        for ranks in RANKS
    ]
    candidates = [Candidate(codec=codec, algorithm="one_shot", ranks=ranks) for ranks in RANKS for codec in CODECS]
    changed = {"folder": str(folder), "data": str(tiny_data), "model_path": str(model), "arms": arms}
    return study_plan(ranks=list(RANKS)).model_copy(update={**changed, "candidates": candidates})


@pytest.fixture
def study(plan: StudyPlan, tmp_path: Path, display: Display, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Run a study whose own server measures by the formula, with a cache and a folder of a name's."""

    def run(name: str, share: Share | None) -> tuple[StudyReport, list[Measured], list[Measurement]]:
        own: list[Measurement] = []

        def measure(_self: Measurer, wanted: Measurement) -> Measured:
            own.append(wanted)
            return by_formula(wanted)

        monkeypatch.setattr(Measurer, "_measure", measure)
        monkeypatch.setattr(Measurer, "layers", LAYERS)
        monkeypatch.setattr("harness.study.store.cache", lambda: tmp_path / name)
        report, folder = run_study(relocate(plan, tmp_path / f"study-{name}"), display, share=share)
        lines = [line for ranks in plan.ranks for line in read_measured(folder.path / arm_name(ranks))]
        return report, lines, own

    return run


def shared_by(engine: Any, **options: Any) -> Share:
    return lambda ready: share_study(ready, engine, **{"parts": None, "say": print, **options})


def attempts(plan: StudyPlan) -> list[Attempt]:
    found = read_lines(Path(plan.folder) / "attempts.jsonl", Attempt, "an attempt")
    return list({(attempt.task, attempt.number): attempt for attempt in found}.values())


def ready(plan: StudyPlan, display: Display) -> ReadyStudy:
    """Set a study up whose folder is there."""
    Path(plan.folder).mkdir(exist_ok=True)
    return set_up_study(plan, display)


def test_a_shared_study_leaves_the_records_and_the_report_of_an_unshared_one(study: Study) -> None:
    report, lines, own = study("unshared", None)
    assert {one.purpose for one in own} == {"noise", "candidate", "site", "spared", "rows", "mix"}
    hosts = StudyHosts(["alike"] * 3, kill=0.3, seed=1)
    shared_report, shared_lines, shared_own = study("shared", shared_by(hosts))
    assert hosts.killed
    assert shared_report == report
    assert shared_lines == lines
    # The study's own server measured what the parts could not know, and nothing a second time.
    assert {one.purpose for one in shared_own} <= DEPENDENT
    assert shared_own == [one for one in own if one.purpose in DEPENDENT]


def test_what_was_shared_before_is_not_given_out_again(plan: StudyPlan, display: Display) -> None:
    first = ready(plan, display)
    share_study(first, StudyHosts(["alike"]), parts=2, say=print)
    assert not_measured(first) == []
    hosts, said = StudyHosts(["alike"]), list[str]()
    share_study(first, hosts, parts=2, say=said.append)
    assert (hosts.begun, said) == (
        [],
        ["nothing to share: what depends on no other result was measured before"],
    )
    # One more candidate: that alone.
    more = [*plan.candidates, Candidate(codec="int8_group64", algorithm="one_shot", ranks=4)]
    share_study(ready(plan.model_copy(update={"candidates": more}), display), hosts, parts=3, say=said.append)
    assert [key for key, _node in hosts.begun] == ["part-1"]
    assert "1 measurements in 1 parts" in said[1]


def test_parts_are_all_that_is_independent_each_once_and_of_about_equal_time(plan: StudyPlan) -> None:
    wanted = independent(plan, LAYERS)
    assert len({(one.ranks, one.key) for one in wanted}) == len(wanted)
    for count in (1, 2, 5, len(wanted), 1000):
        parts = cut(wanted, count)
        assert [one for part in parts for one in part] == wanted
        assert len(parts) <= count
        if count <= 5:
            seconds = [sum(map(seconds_of, part)) for part in parts]
            assert max(seconds) - min(seconds) <= 2 * max(map(seconds_of, wanted))
            # A number of ranks takes a server: few parts need two.
            assert sum(len({one.ranks for one in part}) for part in parts) <= count + len(RANKS) - 1


def test_without_a_number_there_are_as_many_parts_as_hosts_have_room_for(plan: StudyPlan, display: Display) -> None:
    hosts = StudyHosts(["alike"] * 3)
    share_study(ready(plan, display), hosts, parts=None, say=print)
    assert sorted(key for key, _node in hosts.begun) == ["part-1", "part-2", "part-3"]
    assert len({node for _key, node in hosts.begun}) == 3


def test_a_part_whose_server_died_runs_again_and_that_is_written_down(plan: StudyPlan, display: Display) -> None:
    left: list[Outcome] = [DIED, DIED]
    ordered: list[tuple[str, list[Measurement]]] = []

    def spoil(order: Order) -> tuple[Outcome, str] | None:
        assert isinstance(order.plan, StudyPlan)
        ordered.append((order.key, order.plan.part))
        return (left.pop(), "the server ended") if order.key == "part-2" and left else None

    hosts = StudyHosts(["alike"] * 2, spoil=spoil)
    said: list[str] = []
    study = ready(plan, display)
    share_study(study, hosts, parts=2, say=said.append)
    assert not_measured(study) == []
    assert [(one.task, one.number, one.error) for one in attempts(plan) if one.task == "part-2"] == [
        ("part-2", 1, "the server ended"),
        ("part-2", 2, "the server ended"),
        ("part-2", 3, ""),
    ]
    # Three measurements each time, which are not made again.
    wanted = cut(independent(plan, LAYERS), 2)[1]
    assert [parts for key, parts in ordered if key == "part-2"] == [wanted, wanted[3:], wanted[6:]]
    assert all(one.host and one.ended for one in attempts(plan))
    assert any("part-2: attempt 2 of 3 failed on host of node-" in text for text in said)


@pytest.mark.parametrize(("outcome", "starts"), [(DIED, 3), (REFUSED, 1)])
def test_what_fails_again_and_again_or_would_be_found_again_ends_the_study_and_what_was_measured_is_kept(
    plan: StudyPlan, display: Display, outcome: Outcome, starts: int
) -> None:
    hosts = StudyHosts(["alike"], spoil=lambda order: (outcome, "it is so") if order.key == "part-2" else None)
    study = ready(plan, display)
    before = len(not_measured(study))
    with pytest.raises(HarnessError, match=r"part-2 of the study on host of node-0: .*it is so"):
        share_study(study, hosts, parts=2, say=print)
    assert [key for key, _node in hosts.begun].count("part-2") == starts
    kept = before - len(not_measured(study))
    [first, _second] = cut(independent(plan, LAYERS), 2)
    # The first part, and what the second had measured each time that its server died.
    assert kept == len(first) + (9 if outcome == DIED else 0)
    # The same again goes on with the rest.
    share_study(study, StudyHosts(["alike"]), parts=2, say=print)
    assert not_measured(study) == []


def test_an_unlike_host_ends_the_study_at_once_with_the_difference(plan: StudyPlan, display: Display) -> None:
    hosts = StudyHosts(["other"])
    with pytest.raises(HarnessError, match="part-1 of the study on host of node-0: machine: now: other"):
        share_study(ready(plan, display), hosts, parts=1, say=print)
    assert len(hosts.begun) == 1
    assert not_measured(set_up_study(plan, display)) == independent(plan, LAYERS)


def test_a_part_that_left_nothing_of_what_it_was_to_measure_is_an_error(plan: StudyPlan, display: Display) -> None:
    class Forgetful(StudyHosts):
        def _files(self, order: Order, outcome: Outcome) -> Files:
            del order, outcome
            return {}

    with pytest.raises(HarnessError, match=r"it left nothing of \d+ measurements, such as plain, again"):
        share_study(ready(plan, display), Forgetful(["alike"]), parts=1, say=print)


def test_a_study_that_is_stopped_says_so_of_its_attempts_and_goes_on(plan: StudyPlan, display: Display) -> None:
    class Stopped(StudyHosts):
        def wait(self, handles: Any, timeout_s: float) -> Any:
            if len(self.begun) > 1:
                raise KeyboardInterrupt
            return super().wait(handles, timeout_s)

    study = ready(plan, display)
    with pytest.raises(KeyboardInterrupt):
        share_study(study, Stopped(["alike"]), parts=3, say=print)
    assert [one.error for one in attempts(plan)] == ["", "the study was ended before this part was done"]
    [first, *_rest] = cut(independent(plan, LAYERS), 3)
    assert not_measured(study) == independent(plan, LAYERS)[len(first) :]


def test_no_host_that_could_take_a_part_is_an_error_after_a_while(plan: StudyPlan, display: Display) -> None:
    with pytest.raises(HarnessError, match="no host with 1 CPU, 1 harness_cpu_server was up for 0 s"):
        share_study(ready(plan, display), StudyHosts([]), parts=None, say=print, no_host_s=0.0)


def test_a_model_of_which_nothing_is_kept_or_whose_layers_nobody_knows_is_refused(
    plan: StudyPlan, display: Display, tmp_path: Path
) -> None:
    hub = set_up_study(plan.model_copy(update={"model_path": "some/model"}), display)
    with pytest.raises(HarnessError, match="give its folder with --model-path"):
        not_measured(hub)
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(HarnessError, match="does not say how many layers it has"):
        not_measured(set_up_study(plan, display))
    assert not_measured(set_up_study(plan.model_copy(update={"sites": False}), display))
    (tmp_path / "model" / "config.json").write_text('{"text_config": {"num_hidden_layers": 7}}')
    assert layers_of(str(tmp_path / "model")) == 7


def test_parts_are_measured_in_processes_of_their_host(study: Study, tiny_data: Path) -> None:
    tiny_data.with_name("part.dies").write_text("1")
    report, lines, own = study("processes", shared_by(Processes(), parts=2, command=STAND_IN))
    assert {one.purpose for one in own} == DEPENDENT
    assert (report, lines) == study("unshared", None)[:2]
    assert tiny_data.with_name("part.dies").read_text() == "0"
