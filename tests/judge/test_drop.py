"""All tasks' drops tested together: one level of error for the run."""

import numpy as np
import pytest

from harness.judge.drop import DropToTest, check_drops
from harness.stats import ALPHA, PairedCounts, paired_bounds
from harness.stats.exact import exact_drop_p_values
from harness.stats.sequential import decide, make_design, repeated_bounds


def table(n: int, lost: int, won: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, baseline_only=lost, compressed_only=won, both_wrong=0)


def test_a_task_alone_is_judged_by_its_own_bounds() -> None:
    design = make_design(300, 0.05, looks=(300,))
    for lost in range(0, 60, 3):
        counts = table(300, lost, 4)
        drop = check_drops({"one": DropToTest(counts=counts, max_drop=0.05, design=None)})["one"]
        low, high = repeated_bounds(design, counts)
        assert (drop.low, drop.high) == (low, high)
        assert (low, high) == pytest.approx(paired_bounds(counts), abs=0.004)
        assert (drop.passes, drop.fails) == (low > -0.05, high < -0.05)
        assert drop.because == ""


@pytest.mark.parametrize(("n", "margin"), [(64, 0.1), (200, 0.03)])
def test_a_fail_by_the_p_value_and_by_the_bound_are_the_same(n: int, margin: float) -> None:
    """The validation simulates thousands of tables by the design alone, which is faster."""
    design = make_design(n, margin, looks=(n,))
    for lost, won in np.random.default_rng(0).integers(0, 20, size=(20, 2)).tolist():
        drop = check_drops({"one": DropToTest(counts=table(n, lost, won), max_drop=margin, design=None)})["one"]
        assert drop.p_fails is not None
        decision = decide(design, table(n, lost, won))
        assert (drop.p_fails <= ALPHA) is (decision == "FAIL")
        assert (drop.passes, drop.fails) == (decision == "PASS", decision == "FAIL")


def test_an_interval_that_would_be_too_sure_of_itself_is_wider() -> None:
    """Of 133 questions none changed; a model that loses every 50th answer does that in 6.8 % of runs."""
    assert paired_bounds(table(133, 0, 0))[0] > -0.02
    drop = check_drops({"one": DropToTest(counts=table(133, 0, 0), max_drop=0.02, design=None)})["one"]
    assert (drop.passes, drop.fails) == (False, False)
    assert drop.low < -0.02


def test_no_question_decides_nothing() -> None:
    drop = check_drops({"one": DropToTest(counts=table(0, 0, 0), max_drop=0.02, design=None)})["one"]
    assert (drop.passes, drop.fails, drop.low, drop.high) == (False, False, -1.0, 1.0)


def test_a_fail_that_one_task_alone_would_get_needs_more_among_several() -> None:
    near = next(number for number in range(15, 60) if exact_drop_p_values(table(300, number, 4), 0.05).fails <= ALPHA)
    bad, good = table(300, near, 4), table(300, 3, 4)
    alone = check_drops({"bad": DropToTest(counts=bad, max_drop=0.05, design=None)})["bad"]
    assert alone.fails
    tasks = {"bad": bad, "good": good, "fine": good}
    among = check_drops({name: DropToTest(counts=task, max_drop=0.05, design=None) for name, task in tasks.items()})
    assert not among["bad"].fails
    assert among["bad"].because == ", corrected for 3 tasks"
    assert alone.p_fails is not None
    assert among["bad"].p_fails == pytest.approx(3 * alone.p_fails)
    # Passing is not made harder.
    assert among["good"].passes
    assert among["good"].low == pytest.approx(paired_bounds(good)[0], abs=0.004)
    assert among["good"].because == ""
    clear = {**tasks, "bad": table(300, 90, 4)}
    assert check_drops({name: DropToTest(counts=entry, max_drop=0.05, design=None) for name, entry in clear.items()})[
        "bad"
    ].fails


def test_a_task_that_ended_early_is_judged_by_its_design() -> None:
    design = make_design(1200, 0.05)
    for look in design.looks:
        of = DropToTest(counts=table(look, look * 3 // 10, 0), max_drop=0.05, design=design)
        drop = check_drops({"one": of})["one"]
        low, high = paired_bounds(of.counts)
        assert drop.low <= low
        assert drop.high >= high
        assert not drop.passes
    assert drop.fails
    assert f"corrected for {len(design.looks)} looks" in drop.because


def test_between_two_looks_nothing_is_decided() -> None:
    design = make_design(1200, 0.05)
    of = DropToTest(counts=table(design.looks[-1] - 1, 0, 0), max_drop=0.05, design=design)
    drop = check_drops({"one": of})["one"]
    assert (drop.passes, drop.fails) == (False, False)


def test_tasks_that_may_end_early_leave_the_others_their_share_of_the_level() -> None:
    near = table(300, 30, 4)
    p = exact_drop_p_values(near, 0.05).fails
    design = make_design(1200, 0.05, fail_alpha=ALPHA / 2)
    tasks = {
        "fixed": DropToTest(counts=near, max_drop=0.05, design=None),
        "early": DropToTest(counts=table(1200, 0, 0), max_drop=0.05, design=design),
    }
    assert check_drops(tasks)["fixed"].p_fails == pytest.approx(min(1.0, 2 * p))


def test_no_task_with_a_margin() -> None:
    assert check_drops({}) == {}
