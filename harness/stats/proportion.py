"""One share and a floor for it: exact bounds, and how often a rule errs."""

from scipy.stats import binom, binomtest

from harness.stats.paired import ALPHA


def share_bounds(k: int, n: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the one-sided exact lower and upper bound of a share, each at level 1 - alpha.

    Args:
        k: Hits.
        n: Tries; for 0 the bounds are (0, 1).
        alpha: Error of each bound, below 0.5.

    Source: C. Clopper, E. Pearson, Biometrika 26 (1934), 404-413.
    """
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(k, n).proportion_ci(confidence_level=1 - 2 * alpha, method="exact")
    return float(interval.low), float(interval.high)


def fewest_right(n: int, floor: float) -> int:
    """Return the fewest right answers of n, at least 1, whose share is the floor or more; n + 1 if none is."""
    return next((k for k in range(max(int(floor * n) - 1, 0), n + 1) if k / n >= floor), n + 1)


def chance_to_pass(n: int, accuracy: float, floor: float) -> float:
    """Return the chance that a model of this true accuracy reaches the floor on n questions, by the point rule."""
    return float(binom.sf(fewest_right(n, floor) - 1, n, accuracy))


def chance_to_pass_floor(n: int, floor: float) -> float:
    """Return the chance that a model whose true accuracy is the floor itself reaches it on n questions."""
    return chance_to_pass(n, floor, floor)


def false_alarm_of_floor(n: int, accuracy: float, floor: float) -> float:
    """Return the chance that a sound model of this true accuracy misses the floor on n questions."""
    return 1.0 - chance_to_pass(n, accuracy, floor)
