"""Boundaries of a group-sequential test by alpha spending, for a statistic that moves like Brownian motion.

A score on the questions so far, times the root of their share of all questions, is a sum of about independent
normal parts. Testing it at several looks at the quantile of a single test would err too often; spending says how
much of the error may be used up by each look, and the boundaries follow by integrating over the paths that have
crossed none before.

Sources: P. Armitage, C. McPherson, B. Rowe, Journal of the Royal Statistical Society A 132 (1969), 235-244 (the
    recursion); K. Lan, D. DeMets, Biometrika 70 (1983), 659-663 (spending); I. Hwang, W. Shih, J. DeCani,
    Statistics in Medicine 9 (1990), 1439-1445 (the family used here).
"""

from collections.abc import Callable, Iterator, Sequence
from math import exp, expm1, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

Spending = Callable[[float], float]
# Points of the integration grid in a standard deviation of the step between two looks.
FINENESS = 20
# Beyond this many standard deviations there is no mass.
FAR = 8.0


def hwang_shih_decani(alpha: float, gamma: float) -> Spending:
    """Return the error spent up to each share of the questions.

    Args:
        alpha: The error of the whole test.
        gamma: Not 0. At 1 nearly Pocock's boundaries, which are flat; at -4 nearly O'Brien and Fleming's, which
            start high; the lower, the less is spent early.
    """
    return lambda share: alpha * expm1(-gamma * share) / (exp(-gamma) - 1)


def boundaries(fractions: Sequence[float], spending: Spending) -> tuple[float, ...]:
    """Return the one-sided quantile at each look.

    The other side's boundary is left out: a path that has crossed it is counted here all the same, so that
    either side keeps its error whether or not the other one stops.

    Args:
        fractions: Share of all questions at each look, rising, the last one 1.
        spending: Error used up to a share of the questions.
    """
    path = _Path(0.0)
    found: list[float] = []
    spent = 0.0
    for fraction in fractions:
        due = spending(fraction) - spent
        spent += due
        crossing = path.to(fraction)

        def excess(b: float, crossing: Callable[[float], float] = crossing, due: float = due) -> float:
            return crossing(b) - due

        end = (FAR + 4) * sqrt(fraction)
        b = float(brentq(excess, -end, end, xtol=1e-12))
        path.stop_above(b)
        found.append(b / sqrt(fraction))
    return tuple(found)


def crossing_chances(fractions: Sequence[float], bounds: Sequence[float], drift: float) -> tuple[float, ...]:
    """Return the chance to cross first at each look.

    Args:
        fractions: Share of all questions at each look, rising.
        bounds: The quantile at each look.
        drift: Mean of the score at the last question.
    """
    path = _Path(drift)
    chances = []
    for fraction, bound in zip(fractions, bounds, strict=True):
        b = bound * sqrt(fraction)
        chances.append(path.to(fraction)(b))
        path.stop_above(b)
    return tuple(chances)


class _Path:
    """Where the paths are that have crossed no boundary yet: points, and the mass at each."""

    def __init__(self, drift: float) -> None:
        self.drift, self.at, self.next = drift, 0.0, 0.0
        self.points: NDArray[np.float64] = np.zeros(1)
        self.mass: NDArray[np.float64] = np.ones(1)

    def to(self, fraction: float) -> Callable[[float], float]:
        """Go on to the next look and return the chance to lie above a point there."""
        self.next = fraction
        step = fraction - self.at
        means = self.points + self.drift * step
        return lambda b: float(self.mass @ norm.sf((b - means) / sqrt(step)))

    def stop_above(self, b: float) -> None:
        """Keep the mass at or below a point."""
        step = self.next - self.at
        low = min(self.drift * self.next, b) - FAR * sqrt(self.next)
        # Simpson's rule wants an even number of intervals.
        intervals = 2 * int(np.ceil((b - low) / sqrt(step) * FINENESS / 2))
        points = np.linspace(low, b, intervals + 1)
        weights = np.fromiter(_simpson(intervals), np.float64, intervals + 1) * (b - low) / intervals / 3
        means = self.points + self.drift * step
        density = np.exp(-((points[:, None] - means) ** 2) / (2 * step)) / sqrt(2 * pi * step)
        self.points, self.mass, self.at = points, weights * (density @ self.mass), self.next


def _simpson(intervals: int) -> Iterator[int]:
    for index in range(intervals + 1):
        yield 1 if index in (0, intervals) else 4 if index % 2 else 2
