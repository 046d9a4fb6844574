import pytest
from scipy.stats import binom

from harness.stats.flips import excess_flips, excess_of
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


@pytest.mark.parametrize(
    ("both", "now", "again", "neither"), [(3, 9, 2, 114), (0, 6, 0, 122), (0, 0, 0, 128), (5, 0, 9, 114)]
)
def test_bounds_at_what_is_accepted_are_a_little_wider(both: int, now: int, again: int, neither: int) -> None:
    table = PairedCounts(both_right=both, compressed_only=now, baseline_only=again, both_wrong=neither)
    plain, exact = excess_of(table), excess_of(table, accepted=0.05)
    assert exact.low <= plain.low + 1e-8
    assert exact.high >= plain.high - 1e-8
    assert (exact.low, exact.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    flags = [True] * both + [True] * now + [False] * again + [False] * neither
    flags_again = [True] * both + [False] * now + [True] * again + [False] * neither
    assert excess_flips(flags, flags_again, accepted=0.05) == exact


def test_a_tie_that_the_score_decides_too_soon_is_left_open() -> None:
    """Without noise the flips are binomial: 11 of 128 or more come in 5.7 % of runs where 5 % flip in truth."""
    table = PairedCounts(both_right=0, compressed_only=11, baseline_only=0, both_wrong=117)
    assert binom.sf(10, 128, 0.05) > 0.05
    assert excess_of(table).low > 0.05
    assert excess_of(table, accepted=0.05).low < 0.05
