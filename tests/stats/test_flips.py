import pytest

from harness.stats.flips import excess_flips
from harness.stats.paired import PairedCounts, paired_bounds
from harness.stats.proportion import share_bounds


def test_without_a_noise_floor_it_is_the_share() -> None:
    of = excess_flips([True] * 19 + [False] * 109, None)
    assert (of.share, of.noise_share, of.excess) == (19 / 128, None, 19 / 128)
    assert (of.low, of.high) == share_bounds(19, 128)


def test_flips_of_the_same_questions_are_paired() -> None:
    flipped = [True] * 10 + [True] * 9 + [False] * 3 + [False] * 106
    again = [True] * 10 + [False] * 9 + [True] * 3 + [False] * 106
    of = excess_flips(flipped, again)
    assert (of.share, of.noise_share, of.excess) == pytest.approx((19 / 128, 13 / 128, 6 / 128))
    table = PairedCounts(both_right=10, compressed_only=9, baseline_only=3, both_wrong=106)
    assert (of.low, of.high) == paired_bounds(table)


def test_an_exact_noise_floor_leaves_all_flips() -> None:
    of = excess_flips([True] * 19 + [False] * 109, [False] * 128)
    assert (of.noise_share, of.excess) == (0.0, 19 / 128)
    assert of.low > 0.09


def test_no_question_and_one_question() -> None:
    none = excess_flips([], [])
    assert (none.share, none.excess, none.low, none.high) == (0.0, 0.0, -1.0, 1.0)
    assert (excess_flips([], None).low, excess_flips([], None).high) == (0.0, 1.0)
    one = excess_flips([True], [False])
    assert one.excess == 1.0
    assert one.low < 0.5


def test_runs_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 flips of the compressed arm, 2 of the baseline"):
        excess_flips([True, False, False], [True, False])
