"""How far the scores of the same questions moved between two arms."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from harness.stats.paired import ALPHA
from harness.stats.resample import bootstrap_mean


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Differences of a score, compressed less baseline, one a question; in the score's unit (nats for log-probs).

    Attributes:
        mean: Their mean: what moves all questions alike.
        mean_low: Lower bound of the mean, one-sided.
        mean_high: Upper bound of the mean, one-sided.
        spread: Standard deviation: what moves each question by itself.
        rms: Root of the mean square, both together.
        rms_low: Lower bound of it, one-sided.
        rms_high: Upper bound of it, one-sided.
        largest: The difference furthest from 0, with its sign.
    """

    mean: float
    mean_low: float
    mean_high: float
    spread: float
    rms: float
    rms_low: float
    rms_high: float
    largest: float


def shift(values: Sequence[float], alpha: float = ALPHA, *, seed: int = 0) -> Shift | None:
    """Summarise differences, with bootstrap bounds.

    Args:
        values: One difference a question, finite.
        alpha: Error of each bound.
        seed: Of the bootstrap.

    Returns:
        The summary; None for fewer than two questions, which have no spread.

    Raises:
        ValueError: A value is not finite.
    """
    if len(values) < 2:  # noqa: PLR2004 - see Returns
        return None
    array = np.asarray(values, np.float64)
    mean_low, mean_high = bootstrap_mean(array.tolist(), alpha, seed=seed)
    square_low, square_high = bootstrap_mean((array**2).tolist(), alpha, seed=seed)
    return Shift(
        mean=float(array.mean()),
        mean_low=mean_low,
        mean_high=mean_high,
        spread=float(array.std(ddof=1)),
        rms=sqrt(float((array**2).mean())),
        rms_low=sqrt(max(square_low, 0.0)),
        rms_high=sqrt(square_high),
        largest=float(array[np.abs(array).argmax()]),
    )
