"""Paired right and wrong answers: the score test of the drop, its bounds, McNemar. Every share is between 0 and 1."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

ALPHA = 0.05
# A score this near to 0 would take millions of millions of questions to decide.
NO_SCORE = 1e-5


@dataclass(frozen=True, kw_only=True)
class PairedCounts:
    """The four-fold table of one task: each question is right or wrong in each arm.

    Attributes:
        both_right: Right in both arms.
        baseline_only: Right in the baseline, wrong in the compressed arm.
        compressed_only: The reverse.
        both_wrong: Wrong in both arms.
    """

    both_right: int
    baseline_only: int
    compressed_only: int
    both_wrong: int

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


def questions_to_decide(counts: PairedCounts, max_drop: float, alpha: float = ALPHA) -> int | None:
    """Estimate how many questions in all would decide, if the shares seen so far went on.

    With the shares fixed the score grows with the root of the number of questions, so that the number at
    which it reaches the bounds' quantile follows from the score at hand.

    Args:
        counts: The table so far.
        max_drop: The largest drop that is accepted.
        alpha: Error of the bounds.

    Returns:
        The number, at most `counts.n` where those decide already; None where the drop seen is the accepted
        one.
    """
    if counts.n == 0:
        return None
    z = float(score(counts.baseline_only, counts.compressed_only, counts.n, -max_drop))
    return None if abs(z) < NO_SCORE else ceil(counts.n * (float(norm.isf(alpha)) / z) ** 2)
