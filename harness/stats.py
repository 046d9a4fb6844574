"""Statistics of paired results. Pure functions of counts; every share is between 0 and 1."""

from dataclasses import dataclass
from math import ceil, sqrt

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
    if counts.n == 0:
        return -1.0, 1.0
    z = float(norm.isf(alpha))

    def excess(delta: float, target: float) -> float:
        return _score(counts, delta) - target

    # The score falls from +inf at delta = -1 to -inf at delta = 1.
    edge = 1 - 1e-9
    lower = -1.0 if excess(-edge, z) < 0 else float(brentq(excess, -edge, edge, args=(z,), xtol=1e-10))
    upper = 1.0 if excess(edge, -z) > 0 else float(brentq(excess, -edge, edge, args=(-z,), xtol=1e-10))
    return lower, upper


def _score(counts: PairedCounts, delta: float) -> float:
    """Tango's score statistic of the hypothesis that the true difference is `delta`."""
    n, won, lost = counts.n, counts.compressed_only, counts.baseline_only
    a = 2 * n
    b = -won - lost + (2 * n - won + lost) * delta
    c = -lost * delta * (1 - delta)
    restricted = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * restricted + delta * (1 - delta))
    distance = won - lost - n * delta
    if variance <= 0:
        return 0.0 if distance == 0 else float("inf") if distance > 0 else float("-inf")
    return float(distance / sqrt(variance))


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
    score = _score(counts, -max_drop) if counts.n else 0.0
    return None if abs(score) < NO_SCORE else ceil(counts.n * (float(norm.isf(alpha)) / score) ** 2)
