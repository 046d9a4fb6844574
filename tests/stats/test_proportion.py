import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from statsmodels.stats.proportion import proportion_confint

from harness.stats.proportion import (
    chance_to_pass,
    chance_to_pass_floor,
    false_alarm_of_floor,
    fewest_right,
    share_bounds,
)


@pytest.mark.parametrize(
    ("k", "n", "alpha", "published"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I: exact 95 % intervals.
        (81, 263, 0.025, (0.2527, 0.3676)),
        (15, 148, 0.025, (0.0578, 0.1617)),
        (0, 20, 0.025, (0.0, 0.1684)),
        (1, 29, 0.025, (0.0009, 0.1776)),
    ],
)
def test_published_intervals(k: int, n: int, alpha: float, published: tuple[float, float]) -> None:
    assert share_bounds(k, n, alpha) == pytest.approx(published, abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 4000), st.data(), st.floats(0.001, 0.4))
def test_bounds_are_quantiles_of_beta_and_those_of_statsmodels(n: int, data: st.DataObject, alpha: float) -> None:
    k = data.draw(st.integers(0, n))
    low, high = share_bounds(k, n, alpha)
    assert low == pytest.approx(float(beta.ppf(alpha, k, n - k + 1)) if k else 0.0, abs=1e-7)
    assert high == pytest.approx(float(beta.isf(alpha, k + 1, n - k)) if k < n else 1.0, abs=1e-7)
    assert (low, high) == pytest.approx(proportion_confint(k, n, alpha=2 * alpha, method="beta"), abs=1e-7)


@pytest.mark.parametrize(
    ("k", "n", "expected"), [(0, 0, (0.0, 1.0)), (0, 1, (0.0, 0.95)), (1, 1, (0.05, 1.0)), (0, 59, (0.0, 0.0495))]
)
def test_bounds_of_next_to_nothing(k: int, n: int, expected: tuple[float, float]) -> None:
    assert share_bounds(k, n) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("n", "floor", "fewest"),
    [(200, 0.85, 170), (3, 0.34, 2), (10, 0.0, 0), (10, 1.0, 10), (7, 1.1, 8), (200, 0.18, 36)],
)
def test_fewest_right_by_hand(n: int, floor: float, fewest: int) -> None:
    assert fewest_right(n, floor) == fewest


@settings(deadline=None)
@given(st.integers(1, 4000), st.floats(0, 1))
def test_fewest_right_is_where_the_point_rule_turns(n: int, floor: float) -> None:
    fewest = fewest_right(n, floor)
    assert fewest / n >= floor
    assert fewest == 0 or (fewest - 1) / n < floor


def test_a_model_at_the_floor_passes_about_every_second_run() -> None:
    # Bin(200, 0.85): P(X >= 170), by hand from the table of the distribution: mean 170, so a little over a half.
    assert chance_to_pass_floor(200, 0.85) == pytest.approx(0.5485, abs=1e-4)
    assert chance_to_pass_floor(1, 0.85) == pytest.approx(0.85)
    assert chance_to_pass(4, 0.5, 0.75) == pytest.approx(5 / 16)


def test_a_floor_inside_the_noise_cries_wolf() -> None:
    """61 runs of 200 questions spread 0.840 to 0.880 and "0.85 or more" failed one run in five: sglang-jax #1333."""
    assert 0.1 < false_alarm_of_floor(200, 0.87, 0.85) < 0.25
    assert false_alarm_of_floor(200, 0.87, 0.85) == pytest.approx(1 - chance_to_pass(200, 0.87, 0.85))
