"""The order in which every run asks."""

import numpy as np

from harness.plan.order import asking_order


def test_it_is_a_shuffle_and_always_the_same() -> None:
    order = asking_order(3270)
    assert sorted(order) == list(range(3270))
    # Written down: a change of it would make baselines and thresholds of other questions.
    assert order[:6] == [1526, 1209, 3071, 2030, 1344, 486]
    assert asking_order(3270, seed=1)[:6] != order[:6]
    assert asking_order(0) == []


def test_wherever_a_run_ends_it_has_about_as_many_of_each_half() -> None:
    for rows in (1314, 3270):
        late = np.array(asking_order(rows)) >= rows // 2
        for n in (rows // 16, rows // 4, rows // 2):
            # Three standard deviations of a draw without replacement.
            assert abs(late[:n].mean() - 0.5) < 1.5 * np.sqrt((1 - n / rows) / n)
