from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multinomial, norm

from harness.stats.exact import SIDES, Side, chance_to_reach, critical_score, exact_drop_p_values, worst_case
from harness.stats.paired import DropPValues, PairedCounts, drop_p_values, paired_bounds, score


def counts(n: int, lost: int, won: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, baseline_only=lost, compressed_only=won, both_wrong=0)


def chance_by_listing(n: int, max_drop: float, z: float, side: Side, *, p_lost: float, p_won: float) -> float:
    """Add up scipy's multinomial probabilities of all tables: no monotonicity, no windows."""
    chance = 0.0
    for lost, won in product(range(n + 1), repeat=2):
        if lost + won <= n:
            of = float(score(lost, won, n, -max_drop)) * (1 if side == "PASS" else -1)
            if of >= z:
                table = (lost, won, n - lost - won)
                chance += float(multinomial.pmf(table, n, (p_lost, p_won, 1 - p_lost - p_won)))
    return chance


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("z", [0.5, 1.6448, 2.5])
@pytest.mark.parametrize("truth", [(16, 0.05, 0.2, 0.1), (33, 0.02, 0.03, 0.0), (25, 0.1, 0.4, 0.3)])
def test_the_chance_is_the_sum_over_all_tables(side: Side, z: float, truth: tuple[int, float, float, float]) -> None:
    n, margin, p_lost, p_won = truth
    expected = chance_by_listing(n, margin, z, side, p_lost=p_lost, p_won=p_won)
    assert chance_to_reach(n, margin, z, side, p_lost=p_lost, p_won=p_won) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("n", "margin"), [(20, 0.02), (52, 0.02), (133, 0.02), (20, 0.05), (52, 0.05)])
def test_without_a_discordant_pair_it_is_the_chance_to_lose_nothing(n: int, margin: float) -> None:
    assert worst_case(n, margin, float(score(0, 0, n, -margin)), "PASS") == pytest.approx((1 - margin) ** n, rel=1e-9)
    assert exact_drop_p_values(counts(n, 0, 0), margin).passes >= (1 - margin) ** n


def test_the_score_test_errs_too_often_and_the_exact_one_does_not() -> None:
    """200 questions, 3 points, each changed answer a lost one: lost ones are binomial, so scipy knows how often."""
    n, margin = 200, 0.03
    z = float(norm.isf(0.05))
    fewest = next(lost for lost in range(n) if -score(lost, 0, n, -margin) >= z)
    assert binom.sf(fewest - 1, n, margin) == pytest.approx(0.0808, abs=1e-4)
    stricter = critical_score(n, margin, 0.05, "FAIL")
    fewest = next(lost for lost in range(n) if -score(lost, 0, n, -margin) >= stricter)
    assert binom.sf(fewest - 1, n, margin) <= 0.05


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("n", "margin"), [(16, 0.05), (64, 0.1), (133, 0.02), (200, 0.03), (200, 0.05)])
@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.002])
def test_between_the_shares_tried_the_error_is_held_too(side: Side, n: int, margin: float, alpha: float) -> None:
    z = critical_score(n, margin, alpha, side)
    assert z >= norm.isf(alpha) - 1e-12
    for smaller in np.linspace(0, (1 - margin) ** 2 / 4, 150).tolist():
        assert chance_to_reach(n, margin, z, side, p_lost=smaller + margin, p_won=smaller) <= alpha * 1.01


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("n", "margin", "alpha"), [(64, 0.1, 0.05), (200, 0.03, 0.05), (133, 0.02, 0.01)])
def test_the_critical_score_is_no_higher_than_it_must_be(side: Side, n: int, margin: float, alpha: float) -> None:
    z = critical_score(n, margin, alpha, side)
    if z > norm.isf(alpha) + 1e-9:
        assert worst_case(n, margin, z - 1e-6, side) > alpha


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("n", [1, 2])
def test_too_few_questions_reach_no_small_error(side: Side, n: int) -> None:
    sign = 1 if side == "PASS" else -1
    best = float(score(n if side == "FAIL" else 0, n if side == "PASS" else 0, n, -0.02)) * sign
    assert critical_score(n, 0.02, 0.001, side) > best


def test_no_question_tells_nothing() -> None:
    nothing = DropPValues(passes=1.0, fails=1.0)
    assert exact_drop_p_values(counts(0, 0, 0), 0.05) == nothing
    assert drop_p_values(counts(0, 0, 0), 0.05) == nothing


@pytest.mark.parametrize("n", [1, 7, 60])
def test_every_pair_discordant_the_same_way_decides_as_far_as_n_allows(n: int) -> None:
    lost, won = exact_drop_p_values(counts(n, n, 0), 0.05), exact_drop_p_values(counts(n, 0, n), 0.05)
    assert lost.passes > 0.99
    assert won.fails > 0.99
    # One question lost of one: a true drop of 5 points with as many gains as fit loses it in every second run.
    assert lost.fails == pytest.approx(
        max(((1 - 0.05) ** 2 / 4 + 0.05) ** n, norm.sf(-score(n, 0, n, -0.05))), rel=1e-6
    )


def test_any_drop_is_allowed_by_a_margin_of_1() -> None:
    assert exact_drop_p_values(counts(50, 20, 3), 1.0).passes < 1e-9
    assert exact_drop_p_values(counts(50, 20, 3), 1.0).fails == pytest.approx(1.0)


def test_all_equal_with_no_drop_allowed() -> None:
    assert exact_drop_p_values(counts(50, 0, 0), 0.0) == DropPValues(passes=1.0, fails=1.0)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 80), st.data(), st.floats(0.001, 0.3))
def test_exact_p_values_are_never_below_those_of_the_score(n: int, data: st.DataObject, margin: float) -> None:
    lost = data.draw(st.integers(0, n))
    of = counts(n, lost, data.draw(st.integers(0, n - lost)))
    exact, approximate = exact_drop_p_values(of, margin), drop_p_values(of, margin)
    assert approximate.passes <= exact.passes <= 1 + 1e-9
    assert approximate.fails <= exact.fails <= 1 + 1e-9


@settings(deadline=None)
@given(st.integers(1, 400), st.data(), st.floats(0.001, 0.3), st.floats(0.001, 0.4))
def test_p_values_and_bounds_say_the_same(n: int, data: st.DataObject, margin: float, alpha: float) -> None:
    lost = data.draw(st.integers(0, n))
    of = counts(n, lost, data.draw(st.integers(0, n - lost)))
    low, high = paired_bounds(of, alpha)
    p = drop_p_values(of, margin)
    # By a hair, rounding may decide otherwise.
    if abs(low + margin) > 1e-7:
        assert (p.passes < alpha) is (low > -margin)
    if abs(high + margin) > 1e-7:
        assert (p.fails < alpha) is (high < -margin)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 60), st.data(), st.floats(0.001, 0.3), st.sampled_from(SIDES), st.floats(0.001, 0.2))
def test_p_value_and_critical_score_say_the_same(
    n: int, data: st.DataObject, margin: float, side: Side, alpha: float
) -> None:
    lost = data.draw(st.integers(0, n))
    of = counts(n, lost, data.draw(st.integers(0, n - lost)))
    z = float(score(of.baseline_only, of.compressed_only, n, -margin)) * (1 if side == "PASS" else -1)
    p = exact_drop_p_values(of, margin)
    critical = critical_score(n, margin, alpha, side)
    if abs(z - critical) > 1e-6:
        assert ((p.passes if side == "PASS" else p.fails) <= alpha) is (z >= critical)
