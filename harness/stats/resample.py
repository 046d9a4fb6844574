"""Bootstrap bounds: one-sided, each at level 1 - alpha, the same for the same seed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from harness.stats.paired import ALPHA, PairedCounts

RESAMPLES = 9999
# Resamples drawn at once: bounds the memory, whatever the number of values.
BATCH = 200


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
    """Return bounds of the mean of independent values.

    Args:
        values: The values, finite.
        alpha: Error of each bound.
        seed: Of the random numbers.

    Returns:
        The bounds; (-inf, inf) for fewer than two values.

    Raises:
        ValueError: A value is not finite.

    Source: B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82
        (1987), 171-185: bias-corrected and accelerated, since KL divergences are far from symmetric.
    """
    return bootstrap_cluster_mean([[value] for value in values], alpha, seed=seed)


def bootstrap_cluster_mean(
    groups: Sequence[Sequence[float]], alpha: float = ALPHA, *, seed: int = 0
) -> tuple[float, float]:
    """Return bounds of the mean of all values where those of a group belong together: the tokens of a text.

    Whole groups are resampled. Source, and errors, as for `bootstrap_mean`.

    Args:
        groups: The values of each group; empty ones are left out.
        alpha: Error of each bound.
        seed: Of the random numbers.

    Returns:
        The bounds; (-inf, inf) for fewer than two groups.
    """
    filled = [group for group in groups if len(group)]
    sums = np.array([float(np.sum(group)) for group in filled])
    sizes = np.array([float(len(group)) for group in filled])
    if not np.isfinite(sums).all():
        raise ValueError("values to resample must be finite: leave out, or count apart, those that are not")
    if len(filled) < 2:  # noqa: PLR2004 - one group cannot differ from itself
        return -np.inf, np.inf
    means = sums / sizes
    if np.ptp(means) <= 1e-12 * np.abs(means).max():
        # Resamples that do not differ have no distribution to correct.
        return float(means.min()), float(means.max())
    interval = bootstrap(
        (sums, sizes),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=BATCH,
        confidence_level=1 - 2 * alpha,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _ratio(sums: NDArray[np.float64], sizes: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(sums.sum(axis=axis) / sizes.sum(axis=axis))
