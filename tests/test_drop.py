from itertools import product

import numpy as np
import pytest

from harness.drop import DropToTest, check_drops
from harness.stats import PairedCounts, paired_bounds
from harness.stats.sequential import decide, make_design


def counts(n: int, lost: int, won: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, baseline_only=lost, compressed_only=won, both_wrong=0)


@pytest.mark.parametrize(("n", "margin"), [(64, 0.1), (200, 0.03)])
def test_a_task_asked_to_its_end_is_judged_like_a_design_of_one_look(n: int, margin: float) -> None:
    """The validation simulates thousands of tables with the latter, which is faster."""
    design = make_design(n, looks=(n,))
    drawn = np.random.default_rng(0).integers(0, 20, size=(60, 2))
    for lost, won in [*drawn.tolist(), *product((0, 1, 5), repeat=2)]:
        of = counts(n, lost, won)
        drop = check_drops({"task": DropToTest(counts=of, max_drop=margin, design=None)})["task"]
        assert {(True, False): "PASS", (False, True): "FAIL", (False, False): None}[
            drop.passes, drop.fails
        ] == decide(design, of, margin)


def test_an_interval_that_is_too_sure_of_itself_decides_nothing_and_says_so() -> None:
    """Of 133 questions none changed; a model that loses every 50th answer does that in 6.8 % of runs."""
    of = counts(133, 0, 0)
    assert paired_bounds(of)[0] > -0.02
    drop = check_drops({"task": DropToTest(counts=of, max_drop=0.02, design=None)})["task"]
    assert (drop.passes, drop.fails) == (False, False)
    assert drop.because == ", but not for so few changed answers: the exact p of a PASS is 0.068"
