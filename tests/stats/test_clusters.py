"""What questions that share a passage say."""

import numpy as np
import pytest

from harness.stats.clusters import ENOUGH, design_effect, design_effects


def test_questions_that_stand_alone_say_all_they_can() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-1, 2, size=1000).tolist()
    assert design_effect(differences, range(1000)) == pytest.approx(1.0)
    assert design_effect([], []) == 1.0
    assert design_effect([0] * 500, [number // 2 for number in range(500)]) == 1.0


def test_doubles_of_the_same_question_say_half() -> None:
    differences = np.random.default_rng(0).integers(-1, 2, size=400).tolist()
    twice = [difference for difference in differences for _ in range(2)]
    assert design_effect(twice, [number // 2 for number in range(800)]) == pytest.approx(2.0)


def test_the_effect_by_hand() -> None:
    """Mean 0: (1 + 1)**2 + (-1 - 1)**2 + 0 = 8 by clusters, 4 alone."""
    differences = [1, 1, -1, -1] + [0] * 400
    clusters = [0, 0, 1, 1, *range(2, 402)]
    assert design_effect(differences, clusters) == pytest.approx(2.0)


def test_it_is_never_below_1() -> None:
    differences = [1, -1] * 300
    assert design_effect(differences, [number // 2 for number in range(600)]) == 1.0


def test_few_clusters_are_taken_to_turn_as_one() -> None:
    clusters = [number // 4 for number in range(4 * (ENOUGH - 1))]
    assert design_effect([0] * len(clusters), clusters) == 4.0


def test_many_samples_are_one_by_one() -> None:
    rng = np.random.default_rng(1)
    numbers = np.sort(rng.integers(0, 300, size=900))
    numbers = np.unique(numbers, return_inverse=True)[1]
    samples = rng.integers(-1, 2, size=(5, 900)).astype(np.float64)
    each = [design_effect([int(entry) for entry in sample], numbers.tolist()) for sample in samples]
    assert design_effects(samples, numbers) == pytest.approx(np.array(each))
