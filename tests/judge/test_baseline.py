"""When a baseline is a measure."""

import pytest

from harness.judge.baseline import AGAIN_ALPHA, cannot_tell, differs_again
from harness.judge.pairing import Pairing, pair
from harness.records.samples import Sample
from harness.stats import ALPHA
from harness.stats.proportion import share_bounds
from tests.answers import make_choice


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.62])
@pytest.mark.parametrize("looks", [1, 6])
def test_the_exact_bound_decides(chance: float, looks: int) -> None:
    for right in range(0, 201, 5):
        low, _ = share_bounds(right, 200, ALPHA / looks)
        why = cannot_tell(right, 200, chance=chance, max_drop=0.1, constant="yes" if chance else None, looks=looks)
        assert (why is None) is (low > chance + 0.1)


def test_it_says_what_scores_without_looking_and_what_to_do() -> None:
    why = cannot_tell(45, 128, chance=0.62, max_drop=0.1, constant="yes")
    assert why is not None
    assert "right on 0.352 of 128 questions" in why
    assert "always 'yes' scores 0.620, and the allowed drop is 10 points: it must surely be above 0.720" in why
    assert "Ask more questions" in why
    assert "no answer is right by chance" in (cannot_tell(0, 9, chance=0.0, max_drop=0.1, constant=None) or "")


def started_again(n: int = 400, *, lost: int = 0, won: int = 0, moved: float = 0.0) -> Pairing:
    def answer(number: int, *, right: bool, moved: float = 0.0) -> Sample:
        sample = make_choice(number, right=right)
        # The right choice gains: the second of even questions, the first of odd ones.
        gained = [(1 - number % 2 == index) * moved for index in range(2)]
        logprobs = [logprob + more for logprob, more in zip(sample.logprobs or [], gained, strict=True)]
        return sample.model_copy(update={"logprobs": logprobs})

    first = [answer(number, right=number >= won) for number in range(n)]
    again = [answer(number, right=not won <= number < won + lost, moved=moved) for number in range(n)]
    return pair(first, again)


def test_a_baseline_that_answers_alike_is_steady() -> None:
    assert not differs_again(started_again(), comparisons=1)
    # As many turn either way: noise, which the test of the drop counts in.
    assert not differs_again(started_again(lost=30, won=30), comparisons=1)


def test_one_that_loses_answers_by_starting_is_not() -> None:
    why = differs_again(started_again(lost=15), comparisons=1)[0]
    assert "15 answers were lost and 0 won by starting it again (McNemar" in why


def test_one_whose_margins_move_is_not_unless_the_move_is_too_small_to_matter() -> None:
    (why,) = differs_again(started_again(moved=0.05), comparisons=1)
    assert "its margins moved by +0.050 nats on average (surely beyond 0.02)" in why
    assert not differs_again(started_again(moved=0.001), comparisons=1)
    assert differs_again(started_again(moved=-0.05), comparisons=1)


def test_more_comparisons_ask_for_more() -> None:
    turned = next(lost for lost in range(1, 30) if 2 * 0.5**lost <= AGAIN_ALPHA / 2)
    assert differs_again(started_again(lost=turned), comparisons=1)
    assert not any("McNemar" in why for why in differs_again(started_again(lost=turned), comparisons=4))
