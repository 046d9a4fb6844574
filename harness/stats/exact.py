"""The score test of the drop with its error held exactly, however few pairs are discordant.

The score is normal only in the limit. With few discordant pairs a test at its normal quantile errs in up to
8 % of runs where 5 % are stated (n = 200, margin 3 points, every changed answer a lost one). How often a table
reaches a score can be added up exactly if the share of discordant pairs is known; it is not, so the worst over
all shares counts that two arms can have which agree no less often than chance makes them.

Source: H. Hsueh, J. Liu, J. Chen, "Unconditional exact tests for equivalence or noninferiority for paired binary
endpoints", Biometrics 57 (2001), 478-483; K. Sidik, "Exact unconditional tests for testing non-inferiority in
matched-pairs design", Statistics in Medicine 22 (2003), 265-278. Both show that for these scores the worst case
of "the drop is the margin or more" lies where the drop is the margin.
"""

from functools import lru_cache
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from harness.stats.paired import DropPValues, PairedCounts, score

Side = Literal["PASS", "FAIL"]
SIDES: tuple[Side, Side] = ("PASS", "FAIL")
# Shares of discordant pairs tried: none beyond the margin's own, then evenly on a logarithmic scale.
SHARES = 120
# Tables less likely than this share of the whole are left out of the sums.
NEGLIGIBLE = 1e-12
# Scores this close are the same score, rounded.
TIE = 1e-9
# A margin of 1 leaves no table to add up; this one is as good.
LARGEST = 1 - 1e-9


def exact_drop_p_values(counts: PairedCounts, max_drop: float) -> DropPValues:
    """Return one-sided p-values at the margin that hold for any number of discordant pairs.

    Each is the larger of the score test's and of the exact chance of a score as extreme, in the worst case
    over the share of discordant pairs. Below alpha it therefore implies the same of `drop_p_values`.

    Args:
        counts: The table.
        max_drop: The largest drop that is accepted, at least 0 and below 1.
    """
    if counts.n == 0:
        return DropPValues(passes=1.0, fails=1.0)
    max_drop = min(max_drop, LARGEST)
    z = float(score(counts.baseline_only, counts.compressed_only, counts.n, -max_drop)) / sqrt(counts.design_effect)
    return DropPValues(
        passes=max(float(norm.sf(z)), worst_case(counts.n, max_drop, z, "PASS")),
        fails=max(float(norm.cdf(z)), worst_case(counts.n, max_drop, -z, "FAIL")),
    )


@lru_cache(maxsize=4096)
def critical_score(n: int, max_drop: float, alpha: float, side: Side) -> float:
    """Return the smallest score, at least the normal quantile, that is reached by error in alpha of runs at most.

    Args:
        n: Questions, at least 1.
        max_drop: The largest drop that is accepted, at least 0 and below 1.
        alpha: The error.
        side: PASS for a score at or above it, FAIL for one at or below its negative.

    Returns:
        The score; beyond that of every table where none of n questions is rare enough.
    """
    max_drop = min(max_drop, LARGEST)
    low = float(norm.isf(alpha))
    if worst_case(n, max_drop, low, side) <= alpha:
        return low
    high = low + 1.0
    while worst_case(n, max_drop, high, side) > alpha:
        low, high = high, high + 1.0
    while high - low > 1e-7:  # noqa: PLR2004 - far finer than the scores of two tables lie apart
        middle = (low + high) / 2
        if worst_case(n, max_drop, middle, side) > alpha:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=16384)
def worst_case(n: int, max_drop: float, z: float, side: Side) -> float:
    """Return the chance to reach a score by error, in the worst case over the share of discordant pairs.

    Args:
        n: Questions, at least 1.
        max_drop: The true drop, which is also the hypothesis: at least 0 and below 1.
        z: The score; for FAIL its negative.
        side: PASS: a score of z or more. FAIL: one of -z or less.
    """
    nulls = _nulls(n, max_drop, side)
    fewest = _fewest_for(n, max_drop, z, side)[nulls.against]
    reached = binom.sf(fewest - 1, n - nulls.against, nulls.share_for)
    return float(np.add.reduceat(nulls.chance * reached, nulls.starts).max())


def chance_to_reach(n: int, max_drop: float, z: float, side: Side, *, p_lost: float, p_won: float) -> float:
    """Return the exact chance of a score at the margin or beyond, for given true shares.

    Args:
        n: Questions, at least 1.
        max_drop: The margin, at which the score is taken.
        z: The score; for FAIL its negative. inf: never reached.
        side: PASS: a score of z or more. FAIL: one of -z or less.
        p_lost: True share of questions right in the baseline only.
        p_won: True share of questions right in the compressed arm only.
    """
    p_against, p_for = (p_lost, p_won) if side == "PASS" else (p_won, p_lost)
    against = np.arange(n + 1)
    fewest = _fewest_for(n, max_drop, z, side)
    share = min(p_for / (1 - p_against), 1.0) if p_against < 1 else 0.0
    return float(binom.pmf(against, n, p_against) @ binom.sf(fewest - 1, n - against, share))


def _fewest_for(n: int, max_drop: float, z: float, side: Side) -> NDArray[np.int64]:
    """Return, for each number of pairs against a side, the fewest pairs for it whose score reaches z.

    PASS is against the lost and for the won. FAIL is the same with the arms swapped, so that one search
    serves both. The score rises with each pair for it, hence the bisection; n + 1 means none is enough.

    Returns:
        Shape (n + 1,).
    """
    delta = -max_drop if side == "PASS" else max_drop
    against = np.arange(n + 1)
    below, reached = np.full(n + 1, -1), n - against + 1
    while (reached - below > 1).any():
        # Where the two are neighbours already, the middle is `below` and stays what it is.
        middle = (below + reached) // 2
        enough = score(against, middle, n, delta) >= z - TIE
        below, reached = np.where(enough, below, middle), np.where(enough, middle, reached)
    return reached


class _Nulls:
    """Every number of pairs against, for every share of discordant pairs tried, in one flat array."""

    def __init__(self, n: int, max_drop: float, side: Side) -> None:
        # Two arms that agree no less often than by chance, with accuracies a and a - max_drop, differ in at most
        # (1 + max_drop**2) / 2 of the questions (at a = (1 + max_drop) / 2).
        beyond = (1 - max_drop) ** 2 / 4
        smaller = np.append(0.0, np.geomspace(min(0.02 / n, beyond / 2), beyond, SHARES))
        p_against, p_for = (smaller + max_drop, smaller) if side == "PASS" else (smaller, smaller + max_drop)
        low = binom.ppf(NEGLIGIBLE, n, p_against).astype(np.int64)
        high = binom.isf(NEGLIGIBLE, n, p_against).astype(np.int64)
        sizes = high - low + 1
        owner = np.repeat(np.arange(len(smaller)), sizes)
        self.starts = np.append(0, np.cumsum(sizes)[:-1])
        self.against = low[owner] + np.arange(len(owner)) - self.starts[owner]
        self.chance = binom.pmf(self.against, n, p_against[owner])
        self.share_for = np.minimum(p_for / (1 - p_against), 1.0)[owner]


_nulls = lru_cache(maxsize=64)(_Nulls)
