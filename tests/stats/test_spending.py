from collections.abc import Callable, Sequence
from itertools import pairwise
from math import e, log, sqrt

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from harness.stats.spending import Spending, boundaries, crossing_chances, hwang_shih_decani


def obrien_fleming(alpha: float) -> Spending:
    return lambda share: float(2 * norm.sf(norm.isf(alpha / 2) / sqrt(share)))


def pocock(alpha: float) -> Spending:
    return lambda share: alpha * log(1 + (e - 1) * share)


FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("fractions", "spending", "published"),
    [
        # Lan and DeMets' functions at five equal looks, two-sided 5 %: the examples of R's ldbounds and of
        # Reboussin et al., Controlled Clinical Trials 21 (2000).
        (FIFTHS, obrien_fleming(0.025), (4.8769, 3.3570, 2.6803, 2.2898, 2.0310)),
        (FIFTHS, pocock(0.025), (2.4380, 2.4268, 2.4101, 2.3966, 2.3860)),
        # The upper bounds of R's gsDesign() with its defaults: three looks, 2.5 %, Hwang-Shih-DeCani(-4).
        ((1 / 3, 2 / 3, 1.0), hwang_shih_decani(0.025, -4.0), (3.0107, 2.5465, 1.9992)),
    ],
)
def test_published_boundaries(fractions: Sequence[float], spending: Spending, published: Sequence[float]) -> None:
    assert boundaries(fractions, spending) == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize(
    ("looks", "shape", "constant"),
    [
        # Jennison and Turnbull, Group Sequential Methods (2000), tables 2.1 (Pocock) and 2.3 (O'Brien and Fleming):
        # two-sided 5 %, of which each side has half.
        (2, "pocock", 2.178),
        (5, "pocock", 2.413),
        (10, "pocock", 2.555),
        (2, "obrien-fleming", 1.977),
        (5, "obrien-fleming", 2.040),
        (10, "obrien-fleming", 2.087),
    ],
)
def test_published_constants_err_in_5_percent(looks: int, shape: str, constant: float) -> None:
    fractions = [look / looks for look in range(1, looks + 1)]
    flat: Callable[[float], float] = lambda _: constant  # noqa: E731
    bounds = [flat(fraction) if shape == "pocock" else constant / sqrt(fraction) for fraction in fractions]
    assert 2 * sum(crossing_chances(fractions, bounds, 0.0)) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("drift", [0.0, 1.5, 3.0])
def test_against_the_multivariate_normal(drift: float) -> None:
    fractions, bounds = np.array([0.1, 0.35, 0.5, 1.0]), np.array([2.9, 2.4, 2.2, 1.75])
    shared = np.sqrt(np.minimum.outer(fractions, fractions) / np.maximum.outer(fractions, fractions))
    means = drift * np.sqrt(fractions)
    inside = [
        float(
            multivariate_normal.cdf(bounds[:k], means[:k], shared[:k, :k], abseps=1e-9, releps=1e-9, maxpts=2_000_000)
        )
        for k in range(1, 5)
    ]
    expected = [1 - inside[0], *(before - after for before, after in pairwise(inside))]
    assert crossing_chances(fractions.tolist(), bounds.tolist(), drift) == pytest.approx(expected, abs=2e-5)


def test_one_look_is_the_fixed_test() -> None:
    assert boundaries([1.0], hwang_shih_decani(0.05, -4.0)) == pytest.approx([norm.isf(0.05)], abs=1e-9)
    assert crossing_chances([1.0], [1.5], 2.0) == pytest.approx([norm.cdf(0.5)], abs=1e-9)


@pytest.mark.parametrize("gamma", [-8.0, -4.0, 1.0])
def test_all_is_spent_at_the_end_and_nothing_at_the_start(gamma: float) -> None:
    spending = hwang_shih_decani(0.05, gamma)
    assert spending(0.0) == 0.0
    assert spending(1.0) == pytest.approx(0.05)
    spent = np.cumsum(crossing_chances(FIFTHS, boundaries(FIFTHS, spending), 0.0))
    assert spent.tolist() == pytest.approx([spending(share) for share in FIFTHS], abs=1e-9)
