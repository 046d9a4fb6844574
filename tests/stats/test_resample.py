from math import inf

import numpy as np
import pytest
from scipy.stats import norm

from harness.stats.paired import PairedCounts, paired_bounds
from harness.stats.resample import bootstrap_delta, bootstrap_mean, ratio_bounds


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
    assert ratio_bounds([0.3, 0.6, 0.9], [1, 2, 3], positive=True) == pytest.approx((0.3, 0.3))
    assert bootstrap_mean([0.1] * 30) == pytest.approx((0.1, 0.1))
    assert bootstrap_mean([0.0] * 30) == (0.0, 0.0)


@pytest.mark.parametrize("value", [float("nan"), inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        bootstrap_mean([0.1, value, 0.2])


def test_values_that_belong_together_widen_the_bounds() -> None:
    """50 texts of 20 tokens that are all alike within a text hold 50 values, not 1,000."""
    of_text = np.random.default_rng(4).normal(size=50)
    together = ratio_bounds(20 * of_text, np.full(50, 20))
    assert together == pytest.approx(bootstrap_mean(of_text.tolist()), abs=1e-9)
    low, high = bootstrap_mean(np.repeat(of_text, 20).tolist())
    assert together[1] - together[0] > 3 * (high - low)


def test_long_texts_weigh_more() -> None:
    low, high = ratio_bounds([0.0, 10.0] * 20, [90, 10] * 20)
    assert low < 0.1 < high < 0.2


def test_one_text_tells_nothing_about_others() -> None:
    assert list(map(float, ratio_bounds([0.7], [3]))) == [-inf, inf]
    # Of two, half of all resamples are one of them twice.
    assert list(map(float, ratio_bounds([0.7, 0.3], [3, 3]))) == [-inf, inf]


def test_many_samples_at_once_are_each_by_itself() -> None:
    sums = np.random.default_rng(5).lognormal(size=(3, 40))
    sizes = np.random.default_rng(6).integers(5, 100, size=(3, 40))
    for positive in (False, True):
        low, high = ratio_bounds(sums, sizes, positive=positive)
        for row in range(3):
            assert ratio_bounds(sums[row], sizes[row], positive=positive) == pytest.approx((low[row], high[row]))


@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_the_mean_of_what_has_a_long_tail_is_missed_as_often_as_stated(spread: float) -> None:
    """64 texts of unlike length whose divergence is lognormal; a normal bound misses the truth in up to 13 %."""
    rng = np.random.default_rng(7)
    sizes = np.minimum(127, np.floor(rng.uniform(16, 220, (1000, 64))))
    sums = sizes * rng.lognormal(-(spread**2) / 2, spread, sizes.shape)
    low, high = ratio_bounds(sums, sizes, positive=True)
    assert np.all((low > 0) & (low < high))
    # 5 % and three times its Monte-Carlo error.
    assert (low > 1).mean() < 0.071
    assert (high < 1).mean() < 0.071
    # Nor much more rarely, which would be power thrown away.
    assert (high < 1).mean() > 0.02


def test_a_text_that_did_not_move_is_no_infinity() -> None:
    low, high = ratio_bounds([0.0] * 10 + [1.0, 2.0] * 20, np.full(50, 10), positive=True)
    assert 0 < low < 0.12 < high < 1


def test_one_group_that_outweighs_all_others_gives_no_bound_beyond_it() -> None:
    """Of 32 texts under INT8 behind a Hadamard transform in bf16 one moved by 25 times as much as the median one."""
    groups = np.array([0.03937, 0.00315, 0.0031, 0.00274, *np.linspace(0.00197, 0.00089, 28)])
    low, high = ratio_bounds(groups, np.ones(len(groups)), positive=True)
    assert low < groups.mean() < high <= groups.max()
    # From few groups nobody knows that there is no larger one.
    _, of_few = ratio_bounds(groups[:8], np.ones(8), positive=True)
    assert of_few > groups.max()
