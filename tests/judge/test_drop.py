"""The test of one drop: bounds, verdict and words from the same design."""

import numpy as np
import pytest

from harness.judge.drop import check_drop, judge_drop, points, sure
from harness.judge.verdict import Verdict
from harness.stats import ALPHA, PairedCounts, paired_bounds
from harness.stats.sequential import make_design


def table(n: int, lost: int, won: int, design_effect: float = 1.0) -> PairedCounts:
    rest = n - lost - won
    return PairedCounts(
        both_right=rest, baseline_only=lost, compressed_only=won, both_wrong=0, design_effect=design_effect
    )


@pytest.mark.parametrize("fail_alpha", [ALPHA, ALPHA / 2, ALPHA / 10])
def test_the_bounds_that_are_printed_are_those_that_decide(fail_alpha: float) -> None:
    for lost, won in np.random.default_rng(0).integers(0, 40, size=(40, 2)).tolist():
        drop = check_drop(table(300, lost, won), 0.05, fail_alpha=fail_alpha)
        expected = "PASS" if drop.low > -0.05 else "FAIL" if drop.high < -0.05 else None
        assert drop.decision == expected
        reason = judge_drop("task", drop).reasons[0]
        low, high = f"above {points(drop.low)} ({sure(ALPHA)})", f"below {points(drop.high)} ({sure(fail_alpha)})"
        assert (low in reason, high in reason) == (expected != "FAIL", expected != "PASS")


def test_a_smaller_part_of_the_budget_makes_a_fail_harder_and_a_pass_no_harder() -> None:
    alone, among = (check_drop(table(300, 31, 4), 0.05, fail_alpha=alpha) for alpha in (ALPHA, ALPHA / 10))
    assert (alone.decision, among.decision) == ("FAIL", None)
    assert among.high > alone.high
    assert among.low == alone.low
    assert check_drop(table(300, 3, 4), 0.05, fail_alpha=ALPHA / 10).decision == "PASS"
    assert check_drop(table(300, 90, 4), 0.05, fail_alpha=ALPHA / 10).decision == "FAIL"


def test_questions_that_share_clusters_widen_both_bounds() -> None:
    apart, together = check_drop(table(300, 8, 6), 0.03), check_drop(table(300, 8, 6, 1.5), 0.03)
    assert together.low < apart.low
    assert together.high > apart.high
    assert "they count as 200" in judge_drop("task", together).reasons[0]


def test_an_interval_that_would_be_too_sure_of_itself_is_wider() -> None:
    """Of 133 questions none changed; a model that loses every 50th answer does that in 6.8 % of runs."""
    assert paired_bounds(table(133, 0, 0))[0] > -0.02
    drop = check_drop(table(133, 0, 0), 0.02)
    assert drop.decision is None
    assert drop.low < -0.02


def test_no_question_decides_nothing() -> None:
    drop = check_drop(table(0, 0, 0), 0.02)
    assert (drop.decision, drop.low, drop.high) == (None, -1.0, 1.0)


def test_a_task_that_ended_early_is_judged_by_its_design() -> None:
    design = make_design(1200, 0.05, fail_alpha=ALPHA / 2)
    for look in design.looks:
        counts = table(look, look * 3 // 10, 0)
        drop = check_drop(counts, 0.05, design=design)
        low, high = paired_bounds(counts)
        assert drop.low <= low
        assert drop.high >= high
        assert drop.decision != "PASS"
    assert drop.decision == "FAIL"
    assert f"97.5% sure over {len(design.looks)} looks" in judge_drop("task", drop).reasons[0]


def test_between_two_looks_nothing_is_decided() -> None:
    design = make_design(1200, 0.05)
    assert check_drop(table(design.looks[-1] - 1, 0, 0), 0.05, design=design).decision is None


@pytest.mark.parametrize(("lost", "won", "leans"), [(6, 6, "PASS"), (14, 2, "FAIL")])
def test_undecided_says_which_way_it_leans_and_with_what_chance_more_questions_decide(
    lost: int, won: int, leans: str
) -> None:
    judged = judge_drop("task", check_drop(table(200, lost, won), 0.03, fail_alpha=ALPHA / 4))
    assert judged.verdict is Verdict.INCONCLUSIVE
    (reason,) = judged.reasons
    assert f"it leans to {leans} (p = 0." in reason
    assert "more questions would decide with a chance of 80%" in reason


def test_the_number_of_questions_that_is_named_decides_as_often_as_it_says() -> None:
    lost, won, margin = 6, 6, 0.03
    reason = judge_drop("task", check_drop(table(200, lost, won), margin)).reasons[0]
    n = 200 + int(reason.split("about ")[1].split()[0])
    shares = np.array([lost, won, 200 - lost - won]) / 200
    drawn = np.random.default_rng(0).multinomial(n, shares, 400).tolist()
    decided = [check_drop(table(n, lost, won), margin).decision == "PASS" for lost, won, _ in drawn]
    # Three standard deviations of 400 runs are 6 points; rounding and the exact quantile account for the rest.
    assert np.mean(decided) == pytest.approx(0.8, abs=0.08)
