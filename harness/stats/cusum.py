"""Is a figure of the same items, measured night after night, getting worse? A CUSUM, and where it says so, since when.

The items are a task's questions or the fixed texts, the same each night. A night's score is how much worse it is than
the reference, by item, in units of the standard error that the items themselves show. docs/history.md has the reasons.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Half of the shift, in standard errors, that is to be found soonest.
K = 0.5
# On average one false alarm in so many nights, over all charts of a suite.
NIGHTS = 410
# What a discrete CUSUM overshoots by at both its ends (Siegmund 1985).
OVERSHOOT = 1.166


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
    worse = np.nan_to_num(worse)
    squares = float((worse**2).sum())
    if squares == 0:
        return 0.0
    if clusters is not None:
        squares = max(squares, float((np.bincount(clusters, weights=worse) ** 2).sum()))
    return float(worse.sum()) / sqrt(squares)


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


@dataclass
class _Mean:
    """The mean of nights, item by item."""

    total: NDArray[np.float64]
    count: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "_Mean":
        return cls(np.nan_to_num(values), (~np.isnan(values)).astype(np.float64))

    def add(self, values: NDArray[np.float64]) -> None:
        self.total = self.total + np.nan_to_num(values)
        self.count = self.count + ~np.isnan(values)

    @property
    def values(self) -> NDArray[np.float64]:
        return np.divide(self.total, self.count, out=np.full_like(self.total, np.nan), where=self.count > 0)


@dataclass
class Cusum:
    """A chart that nights are added to.

    The reference is the mean of all good nights before the first suspected one, item by item. A night joins it once
    the CUSUM is back at 0, so that no suspected night hides the next; what was under alarm never joins.

    Attributes:
        charts: Charts that share one false alarm in NIGHTS nights.
        clusters: As for `score`.
        tolerance: By how much worse an item may be each night without counting as worse.
    """

    charts: int = 1
    clusters: NDArray[np.int64] | None = None
    tolerance: float = 0.0
    _number: int = -1
    _height: float = 0.0
    _pool: _Mean | None = None
    _reference: int | None = None
    _since: int | None = None
    _suspected: _Mean | None = None
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
        self._suspect(night)
        together = self._together()
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

    def suspected(self) -> NDArray[np.float64] | None:
        """Return by how much worse each item is, as the mean of the nights since the first suspected; None for none.

        Items without an answer are nan.
        """
        if self._suspected is None or self._pool is None:
            return None
        return self._pool.values - self._suspected.values

    def _worse(self, values: NDArray[np.float64]) -> float:
        assert self._pool is not None  # noqa: S101 - for the type checker
        worse = self._pool.values - values
        # What rounding alone makes of the mean of equal values is no difference.
        worse[np.abs(worse) < _ROUNDING] = 0.0
        return score(worse - self.tolerance, self.clusters)

    def _suspect(self, night: Night) -> None:
        if self._suspected is None:
            self._since, self._suspected = self._number, _Mean.of(night.values)
        else:
            self._suspected.add(night.values)
        self._waiting.append((self._number, night))

    def _together(self) -> float:
        return self._worse(self._suspected.values) if self._suspected is not None else 0.0

    def _restart(self, night: Night) -> None:
        self._pool, self._reference = _Mean.of(night.values), self._number
        self._waiting.clear()
        self._join()

    def _join(self) -> None:
        assert self._pool is not None  # noqa: S101 - see above
        for number, night in self._waiting:
            if night.good:
                self._pool.add(night.values)
                self._reference = number
        self._waiting.clear()
        self._height, self._since, self._suspected, self._alarm = 0.0, None, None, False

    def _step(self, found: float, together: float) -> Step:
        return Step(
            score=found,
            height=self._height,
            alarm=self._alarm,
            since=self._since,
            reference=self._reference,
            together=together,
        )


_ROUNDING = 1e-9


def chart(nights: Iterable[Night], cusum: Cusum) -> Iterator[Step]:
    """Yield what each night adds to a chart."""
    yield from (cusum.add(night) for night in nights)
