"""Bootstrap bounds: one-sided, each at level 1 - alpha, the same for the same seed."""

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from harness.stats.paired import ALPHA, PairedCounts

RESAMPLES = 9999
# Of a studentized statistic, whose every resample needs its own standard error.
STUDENTIZED_RESAMPLES = 4999
# Of the t statistic of lognormal groups: their spread in logarithms, draws at each, and values drawn in all.
SPREADS = np.linspace(0, 2, 11)
SMALLEST = 1e-9
# Groups from which on a mean above all of them is out of the question: of lognormal ones with a spread of 2, which
# lie below their mean in 84 % of cases, all of so many do in 0.4 %.
CAPPED_FROM = 32
MOST_DRAWS, FEWEST_DRAWS, VALUES = 10_000, 4_000, 3_000_000

Array = NDArray[np.float64]


def bootstrap_delta(counts: PairedCounts, alpha: float = ALPHA, *, seed: int = 0) -> tuple[float, float]:
    """Return percentile bounds of the paired difference, from resampled questions.

    To draw questions with replacement is to draw the four-fold table from a multinomial distribution. Beside
    the score bounds, not instead of them: without a discordant pair every resample is the same and the
    bounds are (0, 0), however few the questions.

    Args:
        counts: The table.
        alpha: Error of each bound.
        seed: Of the random numbers.

    Returns:
        The bounds, (-1, 1) where there are no questions.
    """
    n = counts.n
    if n == 0:
        return -1.0, 1.0
    shares = np.array([counts.baseline_only, counts.compressed_only, counts.both_right + counts.both_wrong]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=RESAMPLES)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / n, [alpha, 1 - alpha])
    return float(low), float(high)


def bootstrap_mean(values: Sequence[float], alpha: float = ALPHA, *, seed: int = 0) -> tuple[float, float]:
    """Return bounds of the mean of independent values: `ratio_bounds` of one value a group.

    Args:
        values: The values, finite.
        alpha: Error of each bound.
        seed: Of the random numbers.

    Returns:
        The bounds; (-inf, inf) for fewer than two values.

    Raises:
        ValueError: A value is not finite.
    """
    low, high = ratio_bounds(values, np.ones(len(values)), alpha, seed=seed)
    return float(low), float(high)


def ratio_bounds(
    sums: ArrayLike, sizes: ArrayLike, alpha: float = ALPHA, *, positive: bool = False, seed: int = 0
) -> tuple[Array, Array]:
    """Return bounds of the mean of all values where those of a group belong together: the tokens of a text.

    The mean is the ratio of two sums over groups, and whole groups are resampled. What a resample is asked for is the
    distance of its ratio from the one seen, in its own standard errors (bootstrap-t): with skewed groups a percentile
    is too near on the long side, and BCa hardly farther. Of values that are never negative that distance is taken of
    logarithms, and the upper bound is never nearer than what groups that are lognormal, with the spread of these,
    would need: from few groups alone nobody sees a long tail. Nor is it, from 32 groups on, above the largest group:
    where one outweighs all others, resamples without it are at any distance. Of values of either sign both bounds are
    never nearer than Student's: with tails that are heavy on both sides that errs less than bootstrap-t does.

    Args:
        sums: Sum of each group's values, finite, `[..., groups]`.
        sizes: Number of each group's values, above 0, of the same shape.
        alpha: Error of each bound.
        positive: Whether no value can be negative.
        seed: Of the random numbers.

    Returns:
        Lower and upper bounds, `[...]`; -inf and inf for fewer than two groups, and where the groups are too few for
        that error. Where all groups are alike both are the mean.

    Raises:
        ValueError: A value is not finite.

    Sources: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 12.5; P. Hall, "The Bootstrap
        and Edgeworth Expansion" (1992), chapter 3; the ratio's standard error: W. Cochran, "Sampling Techniques",
        3rd ed. (1977), chapter 2.11.
    """
    totals, counts = np.asarray(sums, np.float64), np.asarray(sizes, np.float64)
    if not np.isfinite(totals).all():
        raise ValueError("values to resample must be finite: leave out, or count apart, those that are not")
    groups = totals.shape[-1]
    if groups < 2:  # noqa: PLR2004 - one group cannot differ from itself
        return np.full(totals.shape[:-1], -np.inf), np.full(totals.shape[:-1], np.inf)
    mean = totals.sum(axis=-1, keepdims=True) / counts.sum(axis=-1, keepdims=True)
    residuals = totals - mean * counts
    # Up to rounding.
    alike = np.abs(residuals).max(axis=-1) <= 1e-12 * np.abs(totals).max(axis=-1)
    moved, again_error = _of_resamples(residuals, counts, _drawn(groups, seed))
    error = np.sqrt((residuals**2).sum(axis=-1) * groups / (groups - 1)) / counts.sum(axis=-1)
    with np.errstate(all="ignore"):
        distance = np.log1p(moved / mean) / (again_error / (mean + moved)) if positive else moved / again_error
        # A resample of one group many times has no error: it is as far as can be, on its side.
        distance = np.where(np.isfinite(distance), distance, np.where(moved == 0, 0.0, np.copysign(np.inf, moved)))
        near, far = np.quantile(distance, [alpha, 1 - alpha], axis=-1, method="nearest")
        mean = mean[..., 0]
        if positive:
            near = np.minimum(near, _lognormal_near(totals / counts, alpha))
            low, high = mean * np.exp(-far * error / mean), mean * np.exp(-near * error / mean)
            if groups >= CAPPED_FROM:
                high = np.minimum(high, (totals / counts).max(axis=-1))
        else:
            normal = student.isf(alpha, groups - 1)
            near, far = np.minimum(near, -normal), np.maximum(far, normal)
            low, high = mean - far * error, mean - near * error
    return np.where(alike, mean, low), np.where(alike, mean, high)


@lru_cache(maxsize=8)
def _drawn(groups: int, seed: int) -> Array:
    """Return how often each resample takes each group, `[groups, B]`."""
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), STUDENTIZED_RESAMPLES)
    return np.ascontiguousarray(drawn.T, np.float64)


def _of_resamples(residuals: Array, sizes: Array, times: Array) -> tuple[Array, Array]:
    """Return how far each resample's ratio is from the one seen, and its standard error.

    Args:
        residuals: Each group's sum less what its size and the ratio make one expect, `[..., groups]`.
        sizes: Each group's size, likewise.
        times: How often each resample takes each group, `[groups, B]`.
    """
    groups, of_sizes = residuals.shape[-1], sizes @ times
    moved = (residuals @ times) / of_sizes
    around_seen = (residuals**2) @ times
    squares = around_seen - 2 * moved * ((residuals * sizes) @ times) + moved**2 * ((sizes**2) @ times)
    # What rounding leaves where all that was taken is alike.
    squares = np.where(squares <= 1e-12 * around_seen, 0, squares)
    return moved, np.sqrt(squares * groups / (groups - 1)) / of_sizes


def _lognormal_near(means: Array, alpha: float) -> Array:
    """Return the lower quantile of the distance, in logarithms, of lognormal groups spread as these are.

    The spread that is seen is raised by two standard errors of itself: it may well be larger.
    """
    groups = means.shape[-1]
    # A group of exactly 0 has no logarithm; the largest spread there is a quantile for stands for it.
    logs = np.log(np.maximum(means, SMALLEST * means.max(axis=-1, keepdims=True)))
    spread = logs.std(axis=-1, ddof=1) * (1 + 2 / sqrt(2 * (groups - 1)))
    return np.asarray(np.interp(spread, SPREADS, _lognormal_quantiles(groups, alpha)))


@lru_cache(maxsize=64)
def _lognormal_quantiles(groups: int, alpha: float) -> Array:
    draws = max(FEWEST_DRAWS, min(MOST_DRAWS, VALUES // groups))
    normal = np.random.default_rng(0).standard_normal((draws, groups))
    found = []
    for spread in SPREADS:
        if spread == 0:
            distance = normal.mean(axis=1) / (normal.std(axis=1, ddof=1) / sqrt(groups))
        else:
            values = np.exp(spread * normal)
            mean = values.mean(axis=1)
            distance = (np.log(mean) - spread**2 / 2) / (values.std(axis=1, ddof=1) / sqrt(groups) / mean)
        found.append(np.quantile(distance, alpha))
    return np.array(found)
