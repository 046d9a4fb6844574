"""Where the time went, of constructed records: the parts add up, and what was not recorded is not made up."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge.time_spent import PARTS, TaskTime, TimeSpent, time_spent
from harness.plan.plan import Plan
from harness.records.run import ArmRecord, Checkpoint, RunRecord, TaskRecord
from harness.records.time_spent import Passes, Span, Spent
from tests.support import make

SECONDS = st.floats(min_value=0.0, max_value=1e5)
PASSES = Passes(prefills=9, prefill_tokens=900, prefill_seconds=6.0, decodes=4, decode_tokens=40, decode_seconds=2.0)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make(tmp_path_factory.mktemp("plan"))


def task(seconds: float = 12.0, questions: int = 4, *, recorded: bool = True, **spent: Any) -> TaskRecord:
    usual: dict[str, Any] = {"spans": [Span(began=10.0, ended=22.5)], "waited": 9.5, "passes": PASSES}
    found = Spent(**{**usual, **spent}) if recorded else None
    return TaskRecord(seconds=seconds, questions=questions, protocol={}, protocol_text="", spent=found)


def arm(**changed: Any) -> ArmRecord:
    usual: dict[str, Any] = {
        "server_args": {},
        "known_answer": True,
        "seconds_to_ready": 9.0,
        "starts": [Span(began=0.5, ended=9.5)],
        "tasks": {"boolq": task()},
    }
    return ArmRecord(**{**usual, **changed})


def spent(plan: Plan, seconds: float = 60.0, **arms: ArmRecord | None) -> TimeSpent:
    return time_spent(plan, RunRecord(started="then", seconds=seconds, errors=[], versions={}), arms)


def boolq(plan: Plan, record: TaskRecord) -> TaskTime:
    return spent(plan, baseline=arm(tasks={"boolq": record})).arms["baseline"].tasks["boolq"]


def test_a_tasks_seconds_are_divided_and_its_tokens_counted_by_them(plan: Plan) -> None:
    found = boolq(plan, task())
    assert [getattr(found, part) for part in PARTS] == [6.0, 2.0, 1.5, 2.5]
    assert (found.prefill_tokens, found.prefill_rate) == (900, 150.0)
    assert (found.decode_tokens, found.decode_rate) == (40, 20.0)


@settings(deadline=None)
@given(
    seconds=SECONDS,
    waited=SECONDS,
    prefill=SECONDS,
    decode=SECONDS,
    device=st.sampled_from(["cpu", "cuda", "npu"]),
    known=st.booleans(),
)
def test_the_parts_are_the_whole_and_none_is_less_than_nothing(
    plan: Plan, *, seconds: float, waited: float, prefill: float, decode: float, device: str, known: bool
) -> None:
    passes = Passes(prefills=1, prefill_tokens=1, prefill_seconds=prefill, decode_seconds=decode) if known else None
    plan = plan.model_copy(update={"device": device})
    found = boolq(plan, task(seconds, waited=waited, passes=passes))
    parts = [value for part in PARTS if (value := getattr(found, part)) is not None]
    assert all(value >= 0 for value in parts)
    assert sum(parts) == pytest.approx(found.seconds, abs=0.003)
    if device != "cpu" or not known:
        assert found.prefill is found.decode is None


def test_the_run_is_never_shorter_than_what_it_is_of(plan: Plan) -> None:
    whole = spent(plan, baseline=arm(), compressed=arm())
    assert (whole.seconds, whole.rest) == (60.0, 60.0 - 2 * (9.0 + 12.0))
    # One that was killed said of itself only when it began.
    killed = spent(plan, seconds=0.0, baseline=arm(), compressed=None)
    assert (killed.seconds, killed.rest) == (22.5, 1.5)
    untold = arm(starts=[], tasks={"boolq": task(recorded=False)})
    assert (spent(plan, seconds=0.0, baseline=untold).seconds, spent(plan).rest) == (21.0, 60.0)


def test_what_was_not_recorded_is_not_known(plan: Plan) -> None:
    found = spent(plan, baseline=arm(starts=[], tasks={"boolq": task(recorded=False)})).arms["baseline"]
    assert (found.start, found.starts) == (9.0, [])
    assert found.tasks["boolq"] == TaskTime(questions=4, seconds=12.0)
    # Of logs that could not be followed only the passes are not.
    found_task = boolq(plan, task(passes=None))
    assert (found_task.prefill, found_task.decode, found_task.server, found_task.client) == (None, None, 9.5, 2.5)
    assert found_task.prefill_rate is found_task.decode_rate is None


@pytest.mark.parametrize("device", ["cuda", "npu"])
def test_a_hosts_time_does_not_pass_for_the_devices(plan: Plan, device: str) -> None:
    found = spent(plan.model_copy(update={"device": device}), baseline=arm())
    assert found.on_device
    of_task = found.arms["baseline"].tasks["boolq"]
    assert (of_task.prefill, of_task.decode, of_task.server, of_task.client) == (None, None, 9.5, 2.5)
    assert (of_task.prefill_rate, of_task.decode_rate) == (round(900 / 9.5, 1), round(40 / 9.5, 1))


def test_the_largest_part_of_the_difference_is_named(plan: Plan) -> None:
    slow = PASSES.model_copy(update={"prefill_seconds": 9.0, "decode_seconds": 1.0})
    slower = arm(tasks={"boolq": task(15.0, waited=12.0, passes=slow), "gsm8k": task()})
    found = spent(plan, baseline=arm(), compressed=slower).slower
    assert found is not None
    assert (found.tasks, found.baseline, found.compressed, found.ratio) == (["boolq"], 12.0, 15.0, 1.25)
    assert (found.task, found.part, found.difference) == ("boolq", "prefill", 3.0)
    faster = spent(plan, baseline=slower, compressed=arm()).slower
    assert faster is not None
    assert (faster.ratio, faster.part, faster.difference) == (0.8, "prefill", -3.0)
    untold = arm(tasks={"boolq": task(15.0, recorded=False)})
    found = spent(plan, baseline=arm(), compressed=untold).slower
    assert found is not None
    assert (found.part, found.difference) == ("seconds", 3.0)


def test_arms_that_were_not_asked_the_same_are_not_compared(plan: Plan) -> None:
    assert spent(plan, baseline=arm(), compressed=arm(tasks={"boolq": task(questions=3)})).slower is None
    assert spent(plan, baseline=arm(), compressed=None).slower is None
    assert spent(plan, baseline=arm(tasks={}), compressed=arm(tasks={})).slower is None


def test_a_task_that_was_broken_off_counts_as_far_as_it_was_kept(plan: Plan) -> None:
    broken = Checkpoint(task="gsm8k", questions=2, seconds=3.0, sizes={}, spent=Spent(waited=2.0, passes=None))
    tasks = spent(plan, baseline=arm(checkpoint=broken)).arms["baseline"].tasks
    assert (tasks["gsm8k"].questions, tasks["gsm8k"].server, tasks["gsm8k"].client) == (2, 2.0, 1.0)
    done = broken.model_copy(update={"task": "boolq"})
    assert spent(plan, baseline=arm(checkpoint=done)).arms["baseline"].tasks["boolq"].seconds == 12.0


def test_a_stored_baselines_time_is_not_this_runs(plan: Plan) -> None:
    reusing = plan.model_copy(update={"reuse_baseline": "reports/earlier"})
    found = spent(reusing, seconds=30.0, baseline=arm(), compressed=arm())
    assert not found.arms["baseline"].of_this_run
    assert (found.seconds, found.rest) == (30.0, 9.0)


def test_a_resumed_arm_has_a_span_for_each_start() -> None:
    part = Passes(prefills=1, prefill_tokens=10, prefill_seconds=1.0)
    found = Spent().with_leg(Span(began=10.0, ended=12.0), waited=1.5, passes=part, started=0.0)
    found = found.with_leg(Span(began=13.0, ended=15.0), waited=1.5, passes=part, started=0.0)
    assert found.spans == [Span(began=10.0, ended=15.0)]
    found = found.with_leg(Span(began=45.0, ended=46.0), waited=0.5, passes=part, started=16.0)
    assert found.spans == [Span(began=10.0, ended=15.0), Span(began=45.0, ended=46.0)]
    assert (found.waited, found.passes) == (3.5, part + part + part)
    assert part + part - part == part
    assert found.with_leg(Span(began=47.0, ended=48.0), waited=0.5, passes=None, started=16.0).passes is None


def test_all_starts_of_a_resumed_arm_count(plan: Plan) -> None:
    twice = [Span(began=0.0, ended=9.0), Span(began=30.0, ended=38.0)]
    assert spent(plan, baseline=arm(starts=twice)).arms["baseline"].start == 17.0
