from math import sqrt

import numpy as np
import pytest

from harness.stats.resample import bootstrap_mean
from harness.stats.shift import shift


def test_by_hand() -> None:
    of = shift([1.0, -3.0, 2.0, 0.0])
    assert of is not None
    assert (of.n, of.mean, of.largest) == (4, 0.0, -3.0)
    assert of.spread == pytest.approx(sqrt(14 / 3))
    assert of.rms == pytest.approx(sqrt(14 / 4))
    assert of.mean_low < 0 < of.mean_high
    assert of.rms_low < of.rms < of.rms_high <= 3


def test_bounds_are_those_of_the_mean_and_of_the_mean_square() -> None:
    values = np.random.default_rng(0).normal(0.47, 0.35, size=128)
    of = shift(values.tolist(), alpha=0.1, seed=3)
    assert of is not None
    assert (of.mean_low, of.mean_high) == bootstrap_mean(values.tolist(), 0.1, seed=3)
    assert (of.rms_low**2, of.rms_high**2) == pytest.approx(bootstrap_mean((values**2).tolist(), 0.1, seed=3))
    assert of.mean_low > 0.3


def test_what_moves_all_alike_has_no_spread() -> None:
    of = shift([0.25] * 10)
    assert of is not None
    assert (of.mean, of.mean_low, of.mean_high, of.spread, of.rms, of.rms_low, of.largest) == pytest.approx(
        (0.25, 0.25, 0.25, 0.0, 0.25, 0.25, 0.25)
    )


@pytest.mark.parametrize("values", [[], [0.4]])
def test_fewer_than_two_questions_have_no_shift(values: list[float]) -> None:
    assert shift(values) is None
