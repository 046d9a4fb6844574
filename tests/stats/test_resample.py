from math import inf

import numpy as np
import pytest
from scipy.stats import norm

from harness.stats.paired import PairedCounts, paired_bounds
from harness.stats.resample import bootstrap_cluster_mean, bootstrap_delta, bootstrap_mean


def counts(n: int, lost: int, won: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, baseline_only=lost, compressed_only=won, both_wrong=0)


@pytest.mark.parametrize(("n", "lost", "won"), [(1319, 60, 50), (3270, 100, 140), (500, 200, 100)])
def test_the_difference_agrees_with_the_score_bounds_where_there_is_much(n: int, lost: int, won: int) -> None:
    of = counts(n, lost, won)
    assert bootstrap_delta(of) == pytest.approx(paired_bounds(of), abs=2.5e-3)


def test_the_difference_of_nothing_all_equal_and_all_discordant() -> None:
    assert bootstrap_delta(counts(0, 0, 0)) == (-1.0, 1.0)
    assert bootstrap_delta(counts(1, 0, 0)) == (0.0, 0.0)
    assert bootstrap_delta(counts(50, 50, 0)) == (-1.0, -1.0)


def test_the_same_seed_gives_the_same_bounds() -> None:
    values = np.random.default_rng(1).normal(size=40).tolist()
    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5) != bootstrap_mean(values, seed=6)
    assert bootstrap_delta(counts(200, 9, 4), seed=5) == bootstrap_delta(counts(200, 9, 4), seed=5)


def test_the_mean_of_many_is_normal() -> None:
    values = np.random.default_rng(2).normal(0.5, 2.0, size=1000)
    margin = norm.isf(0.05) * values.std(ddof=1) / np.sqrt(1000)
    expected = (values.mean() - margin, values.mean() + margin)
    assert bootstrap_mean(values.tolist()) == pytest.approx(expected, abs=0.01)


def test_two_sided_coverage_of_skewed_values() -> None:
    """Exponential values, like divergences: the mean's bounds miss the truth in about 10 % of samples together."""
    drawn = np.random.default_rng(3).exponential(size=(120, 60))
    bounds = np.array([bootstrap_mean(values.tolist()) for values in drawn])
    missed = ((bounds[:, 0] > 1) | (bounds[:, 1] < 1)).mean()
    assert 0.02 < missed < 0.21


@pytest.mark.parametrize("values", [[], [0.3]])
def test_fewer_than_two_values_tell_nothing(values: list[float]) -> None:
    assert bootstrap_mean(values) == (-inf, inf)


def test_equal_values_have_no_spread() -> None:
    assert bootstrap_mean([0.1] * 30) == pytest.approx((0.1, 0.1))
    assert bootstrap_mean([0.0] * 30) == (0.0, 0.0)


@pytest.mark.parametrize("value", [float("nan"), inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        bootstrap_mean([0.1, value, 0.2])


def test_values_that_belong_together_widen_the_bounds() -> None:
    """50 texts of 20 tokens that are all alike within a text hold 50 values, not 1,000."""
    of_text = np.random.default_rng(4).normal(size=50)
    tokens = [[value] * 20 for value in of_text.tolist()]
    together = bootstrap_cluster_mean(tokens)
    assert together == pytest.approx(bootstrap_mean(of_text.tolist()), abs=1e-9)
    low, high = bootstrap_mean([value for group in tokens for value in group])
    assert together[1] - together[0] > 3 * (high - low)


def test_long_texts_weigh_more() -> None:
    low, high = bootstrap_cluster_mean([[0.0] * 90, [1.0] * 10] * 20)
    assert low < 0.1 < high < 0.2
    assert bootstrap_cluster_mean([[0.0] * 90, [1.0] * 10] * 20 + [[]]) == (low, high)


def test_one_text_tells_nothing_about_others() -> None:
    assert bootstrap_cluster_mean([[0.1, 0.4, 0.2]]) == (-inf, inf)
