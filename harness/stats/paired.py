"""Paired right and wrong answers: the score test of the drop, its bounds, McNemar. Every share is between 0 and 1."""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

ALPHA = 0.05
# A score this near to 0 would take millions of millions of questions to decide.
NO_SCORE = 1e-5
# With this chance the number of questions that a report names decides.
DECIDES = 0.8


@dataclass(frozen=True, kw_only=True)
class PairedCounts:
    """The four-fold table of one task: each question is right or wrong in each arm.

    Attributes:
        both_right: Right in both arms.
        baseline_only: Right in the baseline, wrong in the compressed arm.
        compressed_only: The reverse.
        both_wrong: Wrong in both arms.
        design_effect: Variance of `delta` by that of as many independent questions, at least 1: see stats.clusters.
    """

    both_right: int
    baseline_only: int
    compressed_only: int
    both_wrong: int
    design_effect: float = 1.0

    @property
    def n(self) -> int:
        """Questions."""
        return self.both_right + self.baseline_only + self.compressed_only + self.both_wrong

    @property
    def delta(self) -> float:
        """Accuracy of the compressed arm less that of the baseline; 0 for no questions."""
        return (self.compressed_only - self.baseline_only) / self.n if self.n else 0.0


def paired_bounds(counts: PairedCounts, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the one-sided lower and the one-sided upper confidence bound of `delta`, each at level 1 - alpha.

    Tango's score interval: the set of differences that a score test of the paired table does not reject. It
    holds its level for small n and needs no continuity correction where no pair is discordant.

    Args:
        counts: The table.
        alpha: Error of each bound.

    Returns:
        The bounds, (-1, 1) where there are no questions.

    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
        paired-sample design", Statistics in Medicine 17 (1998), 891-908, equations 11 to 14.
    """
    z = float(norm.isf(alpha))
    return score_bounds(counts, z, z)


def score_bounds(counts: PairedCounts, z_low: float, z_high: float) -> tuple[float, float]:
    """Return the lowest and the highest difference that the score statistic places within these quantiles.

    Args:
        counts: The table.
        z_low: Quantile of the lower bound: a difference below it has a score above `z_low`.
        z_high: Quantile of the upper bound: a difference above it has a score below `-z_high`.

    Returns:
        The bounds, (-1, 1) where there are no questions.
    """
    if counts.n == 0:
        return -1.0, 1.0
    z_low, z_high = (z * sqrt(counts.design_effect) for z in (z_low, z_high))

    def excess(delta: float, target: float) -> float:
        return float(score(counts.baseline_only, counts.compressed_only, counts.n, delta)) - target

    # The score falls from +inf at delta = -1 to -inf at delta = 1.
    edge = 1 - 1e-9
    lower = -1.0 if excess(-edge, z_low) < 0 else float(brentq(excess, -edge, edge, args=(z_low,), xtol=1e-10))
    upper = 1.0 if excess(edge, -z_high) > 0 else float(brentq(excess, -edge, edge, args=(-z_high,), xtol=1e-10))
    return lower, upper


def score(lost: ArrayLike, won: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """Return Tango's score statistic of the hypothesis that the true difference is `delta`.

    About standard normal under that hypothesis, positive where the difference seen lies above it.

    Args:
        lost: Questions right in the baseline only.
        won: Questions right in the compressed arm only; broadcast with `lost` and `n`.
        n: Questions, at least 1.
        delta: The difference, compressed less baseline, above -1 and below 1.

    Source: Tango 1998 (see `paired_bounds`), equations 6 to 8.
    """
    lost, won, n = (np.asarray(count, np.float64) for count in (lost, won, n))
    b = (2 * n - won + lost) * delta - won - lost
    c = -lost * delta * (1 - delta)
    restricted = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = np.maximum(n * (2 * restricted + delta * (1 - delta)), 0.0)
    distance = won - lost - n * delta
    # Without variance a difference is certain: its score is infinite, and 0 where there is none.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / np.sqrt(variance))


@dataclass(frozen=True, kw_only=True)
class DropPValues:
    """How well the data fit each side of the margin.

    Attributes:
        passes: p-value of the hypothesis "the drop is the accepted one or more"; small: non-inferior, PASS.
        fails: p-value of the hypothesis "the drop is the accepted one or less"; small: inferior, FAIL.
    """

    passes: float
    fails: float


def drop_p_values(counts: PairedCounts, max_drop: float) -> DropPValues:
    """Return the one-sided p-values of the score test at the margin.

    `passes` is below alpha exactly where the lower of `paired_bounds` is above -max_drop, `fails` where the
    upper one is below it. Both are 1 where there are no questions. The score is normal in the limit only:
    `harness.stats.exact` has the p-values that hold at any number of discordant pairs.

    Args:
        counts: The table.
        max_drop: The largest drop that is accepted, at least 0 and below 1.
    """
    if counts.n == 0:
        return DropPValues(passes=1.0, fails=1.0)
    z = float(score(counts.baseline_only, counts.compressed_only, counts.n, -max_drop))
    return DropPValues(passes=float(norm.sf(z)), fails=float(norm.cdf(z)))


def mcnemar_drop(counts: PairedCounts) -> float:
    """Return the p-value of the exact one-sided McNemar test that compression costs accuracy.

    Small means: among the questions that changed between right and wrong, more got worse than chance gives.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157, in its exact (binomial) form.
    """
    discordant = counts.baseline_only + counts.compressed_only
    if discordant == 0:
        return 1.0
    return float(binomtest(counts.baseline_only, discordant, 0.5, alternative="greater").pvalue)


def questions_to_decide(
    counts: PairedCounts, max_drop: float, *, alpha: float = ALPHA, fail_alpha: float = ALPHA
) -> int | None:
    """Estimate how many questions in all decide with a chance of `DECIDES`, if the shares seen are the true ones.

    With the shares fixed the mean score grows with the root of the number of questions. It must lie beyond the
    quantile of the side that it leans to by as much as a standard normal score exceeds with that chance.

    Args:
        counts: The table so far.
        max_drop: The largest drop that is accepted.
        alpha: Error of a PASS.
        fail_alpha: Error of a FAIL.

    Returns:
        The number, at most `counts.n` where those decide already; None where the drop seen is the accepted
        one.
    """
    if counts.n == 0:
        return None
    z = float(score(counts.baseline_only, counts.compressed_only, counts.n, -max_drop)) / sqrt(counts.design_effect)
    if abs(z) < NO_SCORE:
        return None
    needed = float(norm.isf(alpha if z > 0 else fail_alpha)) + float(norm.ppf(DECIDES))
    return ceil(counts.n * (needed / z) ** 2)
