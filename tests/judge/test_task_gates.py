"""One task's gates, and when they may judge."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.thresholds import Threshold
from harness.judge.drop import Drop, check_drop
from harness.judge.task_gates import Levels, TaskNumbers, judge_gates, judge_task
from harness.judge.verdict import Judged, Verdict
from harness.stats import PairedCounts, paired_bounds
from harness.stats.flips import excess_flips

# What a search for a root may be off by.
CLOSE = 1e-8


def numbers(both_right: int, lost: int = 0, won: int = 0, both_wrong: int = 0, **more: Any) -> TaskNumbers:
    table = PairedCounts(both_right=both_right, baseline_only=lost, compressed_only=won, both_wrong=both_wrong)
    return TaskNumbers(name="gsm8k", counts=table, **more)


def threshold(**keys: Any) -> Threshold:
    return Threshold(metric="acc,none", source="a paper", **keys)


def judge(of: TaskNumbers, **keys: Any) -> Judged:
    """Judge a task, its drop tested as that of the run's only task."""
    accepted = threshold(**keys)
    if accepted.max_drop is not None:
        of = replace(of, drop=drop_of(of, accepted.max_drop))
    return judge_task(of, accepted)


def judged(of: TaskNumbers, **keys: Any) -> tuple[Verdict, str]:
    """Return the verdict and its only reason."""
    result = judge(of, **keys)
    (reason,) = result.reasons
    assert reason.startswith("gsm8k: ")
    return result.verdict, reason


@pytest.mark.parametrize("n", [20, 200, 1319, 3270])
def test_exactly_at_the_floor_is_reached_and_one_less_is_not(n: int) -> None:
    for right in range(n // 2, n, 7):
        floor = right / n
        assert judged(numbers(right, both_wrong=n - right), floor=floor)[0] is Verdict.PASS
        assert judged(numbers(right - 1, both_wrong=n - right + 1), floor=floor)[0] is Verdict.FAIL


def test_upstreams_floor_at_200_questions() -> None:
    verdict, reason = judged(numbers(170, both_wrong=30), floor=0.85)
    assert verdict is Verdict.PASS
    assert reason == (
        "gsm8k: compressed accuracy 0.8500 of 200 questions, floor 0.85 (point rule): reached; a model exactly at "
        "the floor would pass 55% of such runs"
    )
    verdict, reason = judged(numbers(169, both_wrong=31), floor=0.85)
    assert verdict is Verdict.FAIL
    assert "0.8450 of 200 questions, floor 0.85 (point rule): below it; " in reason


def test_the_floor_is_the_compressed_arms() -> None:
    assert judged(numbers(10, lost=10), floor=0.9)[0] is Verdict.FAIL
    assert judged(numbers(10, won=10), floor=0.9)[0] is Verdict.PASS


@pytest.mark.parametrize("floor", [0.0, 1.0])
def test_floors_at_the_edges(floor: float) -> None:
    assert judged(numbers(0, both_wrong=5), floor=floor)[0] is (Verdict.FAIL if floor else Verdict.PASS)
    assert judged(numbers(5), floor=floor)[0] is Verdict.PASS


def drop_of(task: TaskNumbers, max_drop: float) -> Drop:
    return check_drop(task.counts, max_drop)


@settings(deadline=None, max_examples=25)
@given(*[st.integers(0, 300)] * 4, st.integers(0, 10_000))
def test_the_drop_is_judged_by_the_bounds_that_are_shown(
    right: int, lost: int, won: int, wrong: int, margin: int
) -> None:
    max_drop = margin / 10_000
    task = numbers(right, lost, won, wrong + 1)
    drop = drop_of(task, max_drop)
    expected = (
        Verdict.PASS if drop.low > -max_drop else Verdict.FAIL if drop.high < -max_drop else Verdict.INCONCLUSIVE
    )
    verdict, reason = judged(task, max_drop=max_drop)
    # A baseline that cannot do the task decides nothing.
    assert verdict is (Verdict.INCONCLUSIVE if "cannot judge" in reason else expected)
    # Their quantiles are the normal one or higher, never lower: no verdict but what Tango's interval gives too.
    low, high = paired_bounds(task.counts)
    assert (drop.low <= low + CLOSE, drop.high >= high - CLOSE) == (True, True)


@pytest.mark.parametrize(("right", "measures"), [(95, True), (84, True), (83, False), (70, False), (0, False)])
def test_a_task_judges_only_where_the_baseline_is_surely_above_chance_by_more_than_the_margin(
    right: int, *, measures: bool
) -> None:
    """Of 100 questions 66 have the same answer, and 10 points may be lost: 84 right are surely above 76 %."""
    of = numbers(right, both_wrong=100 - right, chance=0.66, constant="yes")
    verdict, reason = judged(of, max_drop=0.1)
    assert verdict is (Verdict.PASS if measures else Verdict.INCONCLUSIVE)
    if not measures:
        assert "always 'yes' scores 0.660" in reason
        assert "must surely be above 0.760" in reason
        assert "report_only" in reason


def test_a_proven_drop_of_a_model_that_guesses_proves_nothing_either() -> None:
    assert judged(numbers(30, lost=35, both_wrong=35, chance=0.62, constant="yes"), max_drop=0.02)[0] is (
        Verdict.INCONCLUSIVE
    )


def test_both_arms_all_wrong_never_pass() -> None:
    verdict, reason = judged(numbers(0, both_wrong=5000), max_drop=0.01)
    assert verdict is Verdict.INCONCLUSIVE
    assert "no answer is right by chance" in reason


@pytest.mark.parametrize("drop", [{}, {"lost": 60}])
def test_a_baseline_that_differs_from_itself_decides_nothing_and_says_what_it_would_be(drop: dict[str, int]) -> None:
    verdict, reason = judged(numbers(400, **drop, again=("9 answers were lost",)), max_drop=0.05)
    assert verdict is Verdict.INCONCLUSIVE
    assert "9 answers were lost" in reason
    assert f"it would be {'FAIL' if drop else 'PASS'}: gsm8k: accuracy changed" in reason


def upstream(right: int, *, on_floor: int, n: int = 1314) -> TaskNumbers:
    return numbers(right, both_wrong=n - right, floor_right=on_floor, floor_n=200)


def test_upstreams_floor_is_shown_and_only_a_sure_miss_on_all_questions_fails() -> None:
    keys = {"floor": 0.85, "floor_rule": "upstream", "floor_questions": 200}
    verdict, reason = judged(upstream(1150, on_floor=165), **keys)
    assert verdict is Verdict.PASS
    assert "upstream's own rule (shown, not judged): 0.8250 of its 200 questions, missed" in reason
    assert judged(upstream(1040, on_floor=190), **keys)[0] is Verdict.FAIL
    few = numbers(100, floor_right=20, floor_n=20)
    assert "ask all of the task's questions" in judged(few, **keys)[1]


@pytest.mark.parametrize("rule", ["point", "confident"])
def test_a_floor_is_looked_for_on_its_own_questions_alone(rule: str) -> None:
    keys = {"floor": 0.85, "floor_rule": rule, "floor_questions": 200}
    assert judged(upstream(1314, on_floor=100), **keys)[0] is Verdict.FAIL
    assert judged(upstream(0, on_floor=200), **keys)[0] is Verdict.PASS
    assert judged(numbers(100, floor_right=100, floor_n=100), **keys)[0] is Verdict.INCONCLUSIVE


def test_each_gate_fails_by_its_own_part_of_the_budget() -> None:
    of = numbers(85, both_wrong=15, **cut(0.17))
    row = threshold(floor=0.0, max_truncated=0.1)
    assert judge_task(of, row).verdict is Verdict.FAIL
    assert judge_task(of, row, Levels({"max_truncated": 0.001})).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("table", "max_drop", "by_the_interval_alone"),
    [((24, 6, 1, 287), 0.0022489759989433367, "FAIL"), ((106, 1, 0, 150), 0.018016599187251483, "PASS")],
)
def test_tables_that_tangos_interval_alone_would_decide_and_the_exact_error_does_not(
    table: tuple[int, int, int, int], max_drop: float, by_the_interval_alone: str
) -> None:
    task = numbers(*table)
    low, high = paired_bounds(task.counts)
    assert (low > -max_drop, high < -max_drop) == (by_the_interval_alone == "PASS", by_the_interval_alone == "FAIL")
    assert judged(task, max_drop=max_drop)[0] is Verdict.INCONCLUSIVE


def test_bounds_just_around_the_margin() -> None:
    of = numbers(80, lost=9, won=3, both_wrong=8)
    low, high = paired_bounds(of.counts)
    assert judged(of, max_drop=-low + 0.005)[0] is Verdict.PASS
    assert judged(of, max_drop=-low - 1e-6)[0] is Verdict.INCONCLUSIVE
    worse = numbers(60, lost=30, won=2, both_wrong=8)
    _, high = paired_bounds(worse.counts)
    assert judged(worse, max_drop=-high + 1e-6)[0] is Verdict.INCONCLUSIVE
    assert judged(worse, max_drop=-high - 0.005)[0] is Verdict.FAIL


def test_a_pass_says_what_it_is_sure_of() -> None:
    verdict, reason = judged(numbers(700, lost=4, won=6, both_wrong=290), max_drop=0.02)
    assert verdict is Verdict.PASS
    assert "changed by +0.2 points on 1000 paired questions (4 lost, 6 won), allowed drop 2 points" in reason
    assert "is above -0.4 points (95% sure)" in reason


def test_a_fail_says_what_it_is_sure_of() -> None:
    verdict, reason = judged(numbers(500, lost=120, won=10, both_wrong=370), max_drop=0.05)
    assert verdict is Verdict.FAIL
    assert "changed by -11.0 points" in reason
    assert "is below -9.2 points (95% sure)" in reason


@pytest.mark.parametrize("n", [16, 132])
def test_all_equal_but_too_few_is_inconclusive_and_says_how_many_more(n: int) -> None:
    verdict, reason = judged(numbers(n), max_drop=0.02)
    assert verdict is Verdict.INCONCLUSIVE
    assert "it leans to PASS" in reason
    assert "more questions would decide with a chance of 80%" in reason


def test_all_equal_on_enough_questions_passes() -> None:
    # 0.98**149 is the first below 5 %; the score interval alone would be sure at 133.
    assert judged(numbers(148), max_drop=0.02)[0] is Verdict.INCONCLUSIVE
    assert judged(numbers(149), max_drop=0.02)[0] is Verdict.PASS


def test_inconclusive_where_no_number_can_be_given() -> None:
    verdict, reason = judged(numbers(90, lost=10), max_drop=0.10)
    assert verdict is Verdict.INCONCLUSIVE
    assert reason.endswith("; more questions would decide")


@pytest.mark.parametrize(("lost", "won", "verdict"), [(40, 0, Verdict.FAIL), (0, 40, Verdict.INCONCLUSIVE)])
def test_all_discordant(lost: int, won: int, verdict: Verdict) -> None:
    # A baseline that is always wrong is no measure, whatever the other arm does.
    assert judged(numbers(0, lost, won), max_drop=0.1)[0] is verdict


@pytest.mark.parametrize("keys", [{"floor": 0.5}, {"max_drop": 0.5}, {"floor": 0.5, "max_drop": 0.5}])
def test_fewer_questions_than_the_minimum_decide_nothing(keys: dict[str, float]) -> None:
    for right in (0, 199):
        result = judge(numbers(right, lost=199 - right), min_questions=200, **keys)
        assert result.verdict is Verdict.INCONCLUSIVE
        assert len(result.reasons) == len(keys)
        assert all("200 questions" in reason and "too little data" in reason for reason in result.reasons)
    assert judge(numbers(200), min_questions=200, **keys).verdict is Verdict.PASS


def cut(share: float, generated: int = 100) -> dict[str, int]:
    return {"cut": round(share * generated), "generated": generated}


def test_the_worst_part_decides_and_only_its_reasons_are_given() -> None:
    keys = {"floor": 0.5, "max_drop": 0.1, "max_truncated": 0.1}
    result = judge(numbers(100, **cut(0.2)), **keys)
    assert result.verdict is Verdict.FAIL
    (reason,) = result.reasons
    assert (
        "20.0% of the compressed arm's 100 answers ended at the token cap, allowed 10.0%: the true share is" in reason
    )
    result = judge(numbers(10, lost=90, **cut(0.2)), **keys)
    assert result.verdict is Verdict.FAIL
    assert len(result.reasons) == 3
    result = judge(numbers(10, **cut(0.0)), **keys)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert [("allowed drop" in reason) for reason in result.reasons] == [True]
    result = judge(numbers(100, **cut(0.0)), **keys)
    assert result.verdict is Verdict.PASS
    assert len(result.reasons) == 3


def test_a_share_of_cut_answers_near_what_is_allowed_decides_nothing() -> None:
    assert judged(numbers(100, **cut(0.1)), floor=0.0, max_truncated=0.1)[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("right", "verdict", "said"),
    [(190, Verdict.PASS, "above 0.91"), (150, Verdict.FAIL, "below 0.7"), (172, Verdict.INCONCLUSIVE, "below 0.89")],
)
def test_the_confident_rule_asks_for_a_bound(right: int, verdict: Verdict, said: str) -> None:
    found, reason = judged(numbers(right, both_wrong=200 - right), floor=0.85, floor_rule="confident")
    assert found is verdict
    assert "(confident rule)" in reason
    assert said in reason


def flips(turned: int, by_itself: int | None, n: int = 200) -> Any:
    again = None if by_itself is None else [number < by_itself for number in range(n)]
    return excess_flips([number < turned for number in range(n)], again)


@pytest.mark.parametrize(
    ("turned", "by_itself", "verdict"),
    [
        (2, None, Verdict.PASS),
        (40, None, Verdict.FAIL),
        (10, None, Verdict.INCONCLUSIVE),
        # All of them turn without compression too.
        (40, 40, Verdict.PASS),
        (40, 2, Verdict.FAIL),
    ],
)
def test_flips_are_judged_beyond_those_that_happen_by_themselves(
    turned: int, by_itself: int | None, verdict: Verdict
) -> None:
    of = numbers(200, flips=flips(turned, by_itself))
    found = judge(of, floor=0.0, max_flips=0.05)
    assert found.verdict is verdict
    (reason,) = [text for text in found.reasons if "turned from right to wrong" in text]
    assert "allowed 5.0%" in reason
    assert ("by itself" in reason) is (by_itself is not None)


def test_truncation_is_not_asked_of_scored_choices() -> None:
    assert judged(numbers(100), floor=0.5, max_truncated=0.0)[0] is Verdict.PASS


@pytest.mark.parametrize("keys", [{"floor": 0.0}, {"max_drop": 1.0}, {"report_only": True}])
def test_what_was_not_measured_is_an_error_whatever_is_accepted(keys: dict[str, Any]) -> None:
    assert judged(numbers(0), **keys) == (
        Verdict.ERROR,
        "gsm8k: no question was answered in both arms",
    )
    verdict, reason = judged(numbers(100, failed=1), **keys)
    assert verdict is Verdict.ERROR
    assert "1 request failed" in reason
    result = judge(numbers(100, faults=("one", "two")), **keys)
    assert result == Judged(verdict=Verdict.ERROR, reasons=("gsm8k: one", "gsm8k: two"))


def test_report_only_judges_nothing() -> None:
    verdict, reason = judged(numbers(0, lost=100, **cut(1.0)), report_only=True)
    assert verdict is Verdict.REPORTED
    assert reason == "gsm8k: reported only (a paper)"


def test_each_gate_is_told_by_itself() -> None:
    of = numbers(85, both_wrong=15, **cut(0.17))
    found = judge_gates(of, threshold(floor=0.0, max_truncated=0.1))
    verdicts = {key: gate.verdict for key, gate in found.items()}
    assert verdicts == {"floor": Verdict.PASS, "max_truncated": Verdict.FAIL}
    assert all(gate.reasons[0].startswith("gsm8k: ") for gate in found.values())
    # As the verdict on the task does, each says so where the baseline is no measure.
    unsteady = judge_gates(replace(of, again=("it changes by itself",)), threshold(floor=0.0))
    assert unsteady["floor"].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("changed", [{"failed": 1}, {"faults": ("differs",)}])
def test_what_cannot_be_judged_has_no_gates(changed: dict[str, Any]) -> None:
    assert judge_gates(numbers(85, both_wrong=15, **changed), threshold(floor=0.0)) == {}
    assert judge_gates(numbers(85, both_wrong=15), threshold(report_only=True)) == {}
