"""Questions that belong together, as those about one passage: how much less they say than independent ones."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

ENOUGH = 200


def design_effect(differences: Sequence[int], clusters: Sequence[Hashable]) -> float:
    """Return the variance of a mean by what it would be if no question shared its cluster, at least 1.

    A test's score, divided by the root of this, holds its level where questions of a cluster turn together. It is
    never below 1: where they seem to turn against each other, that is taken for chance.

    Args:
        differences: One a question: compressed less baseline, -1, 0 or 1.
        clusters: Each question's cluster; a question that stands alone has one of its own.

    Source: E. Miller, "Adding Error Bars to Evals", arXiv 2411.00640 (2024), section 2.2 (clustered standard errors).
    """
    if not differences:
        return 1.0
    known: dict[Hashable, int] = {}
    numbers = np.array([known.setdefault(cluster, len(known)) for cluster in clusters])
    return float(design_effects(np.array([differences], np.float64), numbers)[0])


def design_effects(differences: NDArray[np.float64], numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the same of many samples at once.

    From fewer than `ENOUGH` clusters the variance cannot be estimated well: then it is what it is at most, where all
    questions of a cluster turn as one.

    Args:
        differences: Shape (samples, questions).
        numbers: Each question's cluster, 0 to clusters - 1; shape (questions,).

    Returns:
        Shape (samples,).
    """
    sizes = np.bincount(numbers)
    if len(sizes) < ENOUGH and sizes.max() > 1:
        return np.full(len(differences), (sizes**2).sum() / sizes.sum())
    left = differences - differences.mean(axis=1, keepdims=True)
    alone = (left**2).sum(axis=1)
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    together = (np.add.reduceat(left[:, order], starts, axis=1) ** 2).sum(axis=1)
    effects: NDArray[np.float64] = np.divide(together, alone, out=np.ones_like(alone), where=alone > 0)
    bounded: NDArray[np.float64] = np.maximum(effects, 1.0)
    return bounded
