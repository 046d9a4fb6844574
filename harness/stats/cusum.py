"""Is a figure of the same items, measured night after night, getting worse? A CUSUM, and since when.

The items are a task's questions or the fixed texts, the same each night. A night's score is how much worse it is
than the reference, item by item, in units of the standard error that the items themselves show: docs/history.md.
"""

from dataclasses import dataclass, field
from functools import cache
from math import isnan, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Half of the shift, in standard errors, that is to be found soonest.
K = 0.5
# On average one false alarm in so many nights, over all charts of a suite.
NIGHTS = 410
# What a discrete CUSUM overshoots by at both its ends (Siegmund 1985).
OVERSHOOT = 1.166


@cache
def limit(charts: int = 1) -> float:
    """Return the height at which a chart of so many speaks: 4.2 for one.

    Args:
        charts: Charts that share one false alarm in NIGHTS nights, at least 1.

    Source: D. Siegmund, Sequential Analysis (1985), section 2.6: the average run length of a one-sided CUSUM of
        independent standard normal scores is (exp(x) - x - 1) / (2 K^2), with x = 2 K (height + OVERSHOOT).
    """
    wanted, x = 2 * K**2 * NIGHTS * charts, 1.0
    for _ in range(50):
        x = log(wanted + x + 1)
    return x / (2 * K) - OVERSHOOT


@cache
def surely_from(charts: int = 1) -> float:
    """Return the score from which nights together are worse by more than the items explain: 2.8 for one chart.

    Independent nights that reach `limit` always reach this too: m nights' scores that sum up to h + m k have a mean
    score of at least 2 sqrt(h k) = 2.9 standard errors. Nights that repeat the same answers do not.

    Args:
        charts: As for `limit`.
    """
    return NormalDist().inv_cdf(1 - 1 / (NIGHTS * charts))


def score(worse: NDArray[np.float64], clusters: NDArray[np.int64] | None = None) -> float:
    """Return how many standard errors worse items are: about standard normal where nothing is, 0 where none changed.

    Where nothing is worse, each item's difference could as well have had the other sign; with all signs equally
    likely their sum has the sum of their squares for a variance. Only items that differ count, as in McNemar's test,
    which this is for right and wrong: (lost - won) / sqrt(lost + won).

    Args:
        worse: By how much each item is worse; negative for better; nan for an item without an answer.
        clusters: Each item's cluster, from 0; items of one change their signs together. None: each is its own.
    """
    total = float(worse.sum())
    if isnan(total):
        worse = np.nan_to_num(worse)
        total = float(worse.sum())
    squares = float(worse @ worse)
    if squares == 0:
        return 0.0
    if clusters is not None:
        together = np.bincount(clusters, weights=worse)
        squares = max(squares, float(together @ together))
    return total / sqrt(squares)


@dataclass(frozen=True, kw_only=True)
class Night:
    """One night's values.

    Attributes:
        values: One an item, higher is better; nan for an item without one.
        good: Whether it may become the reference: a failed night never does.
        accepted: Whether a person took this night for the new normal: the reference starts anew with it.
    """

    values: NDArray[np.float64]
    good: bool = True
    accepted: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a night adds to a chart.

    Attributes:
        score: How many standard errors worse than the reference it is; 0 for a first night.
        height: The CUSUM after it.
        alarm: Whether the figure got worse.
        since: The first night that is suspected, by its number from 0; None where none is.
        reference: The last good night before that one; None for a first night.
        together: How many standard errors worse all nights since then are, together.
    """

    score: float
    height: float
    alarm: bool
    since: int | None
    reference: int | None
    together: float


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The nights under suspicion.

    Attributes:
        since: The likeliest first of them, by its number.
        worse: By how much each item is worse since then, on average; nan for an item without an answer.
    """

    since: int
    worse: NDArray[np.float64]


class _Mean:
    """The mean of nights, item by item, of those that have the item."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._total = np.zeros_like(values)
        # One number as long as no item was missing, which is the usual night.
        self._count: NDArray[np.float64] | float = 0.0
        self.values = self._total
        self.add(values)

    def add(self, values: NDArray[np.float64]) -> None:
        if isnan(values.sum()):
            self._count = self._count + ~np.isnan(values)
            values = np.nan_to_num(values)
        else:
            self._count = self._count + 1.0
        self._total = self._total + values
        with np.errstate(invalid="ignore"):
            self.values = self._total / self._count


@dataclass
class Cusum:
    """A chart that nights are added to.

    The reference is the mean of all good nights before the first suspected one, item by item. A night joins it once
    the CUSUM is back at 0, so that no suspected night hides the next; what was under alarm never joins.

    Attributes:
        charts: Charts that share one false alarm in NIGHTS nights.
        clusters: As for `score`.
        tolerance: By how much worse an item may be each night without counting as worse. Where the values are not 0
            and 1, it must be above what rounding makes of the mean of equal values.
    """

    charts: int = 1
    clusters: NDArray[np.int64] | None = None
    tolerance: float = 0.0
    _number: int = -1
    _height: float = 0.0
    _pool: _Mean | None = None
    _reference: int | None = None
    _since: int | None = None
    _suspected: list[NDArray[np.float64]] = field(default_factory=list)
    _scores: list[float] = field(default_factory=list)
    _together: _Mean | None = None
    _numbers: list[int] = field(default_factory=list)
    _waiting: list[tuple[int, Night]] = field(default_factory=list)
    _alarm: bool = False

    def add(self, night: Night) -> Step:
        """Take in one more night and say what it shows; all nights have the same items."""
        self._number += 1
        if self._pool is None or night.accepted:
            if night.good or night.accepted:
                self._restart(night)
            return self._step(0.0, 0.0)
        found = self._worse(night.values)
        self._height = max(0.0, self._height + found - K)
        if self._height == 0:
            self._waiting.append((self._number, night))
            self._join()
            return self._step(found, 0.0)
        self._suspect(night, found)
        together = self._worse(self._together.values) if self._together is not None else 0.0
        if self._height > limit(self.charts):
            if together >= surely_from(self.charts):
                self._alarm = True
                # Never the reference, whatever follows.
                self._waiting.clear()
                # The first night that is no worse than the reference ends the alarm, the next worse one renews it.
                self._height = min(self._height, limit(self.charts) + K)
            else:
                # The same few answers again and again are no more evidence than once.
                self._join()
                return self._step(found, together)
        else:
            self._alarm = False
        return self._step(found, together)

    def suspects(self) -> "Suspects | None":
        """Return what is suspected now; None for nothing."""
        if self._pool is None or self._since is None:
            return None
        # The CUSUM also leaves 0 at a night that looked worse by luck. Of independent nights with a shift of any size
        # the likeliest beginning is where the squared sum of all scores since, by their number, is largest.
        sums = np.cumsum(self._scores[::-1])[::-1]
        start = int(np.argmax(np.maximum(sums, 0.0) ** 2 / np.arange(len(sums), 0, -1)))
        after = _Mean(self._suspected[start])
        for values in self._suspected[start + 1 :]:
            after.add(values)
        return Suspects(since=self._numbers[start], worse=self._pool.values - after.values)

    def _score(self, worse: NDArray[np.float64]) -> float:
        return score(worse - self.tolerance if self.tolerance else worse, self.clusters)

    def _worse(self, values: NDArray[np.float64]) -> float:
        return 0.0 if self._pool is None else self._score(self._pool.values - values)

    def _suspect(self, night: Night, found: float) -> None:
        if self._since is None or self._together is None:
            self._since, self._together = self._number, _Mean(night.values)
        else:
            self._together.add(night.values)
        self._suspected.append(night.values)
        self._scores.append(found)
        self._numbers.append(self._number)
        self._waiting.append((self._number, night))

    def _restart(self, night: Night) -> None:
        self._pool, self._reference = _Mean(night.values), self._number
        self._waiting.clear()
        self._join()

    def _join(self) -> None:
        for number, night in self._waiting:
            if night.good and self._pool is not None:
                self._pool.add(night.values)
                self._reference = number
        for done in (self._waiting, self._suspected, self._scores, self._numbers):
            done.clear()
        self._height, self._since, self._together, self._alarm = 0.0, None, None, False

    def _step(self, found: float, together: float) -> Step:
        return Step(
            score=found,
            height=self._height,
            alarm=self._alarm,
            since=self._since,
            reference=self._reference,
            together=together,
        )
