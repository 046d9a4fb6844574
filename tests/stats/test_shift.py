from math import sqrt

import numpy as np
import pytest

from harness.stats.resample import bootstrap_mean
from harness.stats.shift import shift


def test_by_hand() -> None:
    found = shift([1.0, -3.0, 2.0, 0.0])
    assert found is not None
    assert (found.mean, found.largest) == (0.0, -3.0)
    assert found.spread == pytest.approx(sqrt(14 / 3))
    assert found.rms == pytest.approx(sqrt(14 / 4))
    assert found.mean_low < 0 < found.mean_high
    assert found.rms_low < found.rms < found.rms_high


def test_bounds_are_those_of_the_mean_and_of_the_mean_square() -> None:
    values = np.random.default_rng(0).normal(0.47, 0.35, size=128)
    found = shift(values.tolist(), alpha=0.1, seed=3)
    assert found is not None
    assert (found.mean_low, found.mean_high) == bootstrap_mean(values.tolist(), 0.1, seed=3)
    assert (found.rms_low**2, found.rms_high**2) == pytest.approx(bootstrap_mean((values**2).tolist(), 0.1, seed=3))
    assert found.mean_low > 0.3


def test_what_moves_all_alike_has_no_spread() -> None:
    found = shift([0.25] * 10)
    assert found is not None
    assert (
        found.mean,
        found.mean_low,
        found.mean_high,
        found.spread,
        found.rms,
        found.rms_low,
        found.largest,
    ) == pytest.approx((0.25, 0.25, 0.25, 0.0, 0.25, 0.25, 0.25))


@pytest.mark.parametrize("values", [[], [0.4]])
def test_fewer_than_two_questions_have_no_shift(values: list[float]) -> None:
    assert shift(values) is None
