from math import inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from harness.judge.predictions import SMALLEST_MASS, Fidelity, PredictionShift, compare, divergence
from harness.records.predictions import TextRecord
from tests.support import make_predictions


def overall(fidelity: Fidelity) -> PredictionShift:
    assert fidelity.faults == []
    assert fidelity.overall is not None
    return fidelity.overall


def test_a_divergence_by_hand() -> None:
    p, q = {1: log(0.5), 2: log(0.25)}, {1: log(0.25), 2: log(0.25)}
    kl, lumped = divergence(p, q)
    assert kl == pytest.approx(0.5 * log(2) + 0.25 * log(1) + 0.25 * log(0.5))
    assert lumped == pytest.approx(0.25)


def test_tokens_that_one_arm_does_not_name_go_into_the_lump() -> None:
    p, q = {1: log(0.5), 2: log(0.25)}, {1: log(0.5), 3: log(0.25)}
    kl, lumped = divergence(p, q)
    assert kl == pytest.approx(0, abs=1e-12)
    assert lumped == pytest.approx(0.5)


def test_masses_that_round_to_more_than_one_give_no_negative_divergence() -> None:
    p, q = {1: log(0.75) + 1e-7, 2: log(0.25) + 1e-7}, {1: log(0.75), 2: log(0.25) - 1e-7}
    kl, lumped = divergence(p, q)
    assert 0 <= kl < 1e-9
    assert lumped == SMALLEST_MASS


def test_a_mass_too_small_for_a_float_is_no_infinity() -> None:
    kl, _ = divergence({1: log(0.5)}, {1: -1000.0})
    assert 400 < kl < 500


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=4, max_size=30), st.data())
@settings(max_examples=100, deadline=None)
def test_a_lower_bound_of_the_whole_divergence(masses: list[tuple[float, float]], data: st.DataObject) -> None:
    p, q = (np.array(one) / sum(one) for one in zip(*masses, strict=True))
    tokens = st.sets(st.integers(0, len(masses) - 1), min_size=1)
    ours, theirs = ({token: log(logprobs[token]) for token in data.draw(tokens)} for logprobs in (p, q))
    kl, lumped = divergence(ours, theirs)
    assert 0 <= kl <= entropy(p, q) + 1e-9
    assert lumped == pytest.approx(1 - sum(p[token] for token in ours.keys() & theirs.keys()), abs=2 * SMALLEST_MASS)


def test_an_arm_against_itself() -> None:
    texts = [make_predictions(f"boolq/{number}", 12) for number in range(10)]
    found = compare(texts, texts, expected=10)
    shift = overall(found)
    assert (found.texts, found.failed, shift.predictions) == (10, 0, 120)
    assert (shift.kl.mean, shift.kl.low, shift.kl.high) == (0, 0, 0)
    assert (shift.loglikelihood.mean, shift.kl_percentiles["max"]) == (0, 0)
    assert (shift.same_top.mean, shift.same_top.high) == (1, 1)
    # 0.05 ** (1 / 120): that none of 120 tokens changed proves no more.
    assert shift.same_top.low == pytest.approx(0.05 ** (1 / 120))
    assert shift.lumped == pytest.approx(0.2)


def test_a_known_shift() -> None:
    here = [make_predictions(f"boolq/{number}", 12) for number in range(10)]
    there = [make_predictions(f"boolq/{number}", 12, likely=0.3) for number in range(10)]
    shift = overall(compare(here, there, expected=10))
    expected = 0.6 * log(2) + 0.2 * log(0.2 / 0.5)
    assert shift.kl.mean == pytest.approx(expected)
    assert shift.kl_percentiles == pytest.approx(dict.fromkeys(("50", "90", "99", "max"), expected))
    assert shift.loglikelihood.mean == pytest.approx(-log(2))
    assert shift.same_top.mean == 1


def test_bounds_come_from_texts_not_from_tokens() -> None:
    def shift(texts: int, predictions: int) -> PredictionShift:
        # Every other text is moved, with all its tokens.
        here = [make_predictions(f"boolq/{number}", predictions) for number in range(texts)]
        there = [
            make_predictions(f"boolq/{number}", predictions, likely=0.6 - number % 2 * 0.3) for number in range(texts)
        ]
        return overall(compare(here, there, expected=texts))

    few, many = shift(8, 8), shift(32, 8)
    assert few.kl.low < few.kl.mean < few.kl.high
    assert many.kl.high - many.kl.low < 0.7 * (few.kl.high - few.kl.low)
    longer = shift(8, 32)
    assert longer.kl.high - longer.kl.low == pytest.approx(few.kl.high - few.kl.low, rel=0.05)
    one = shift(1, 8)
    assert (one.kl.low, one.kl.high) == (-inf, inf)


def test_positions_stand_apart() -> None:
    def predictions(count: int) -> dict[str, int]:
        texts = [make_predictions(predictions=count)]
        return {text: shift.predictions for text, shift in compare(texts, texts, expected=1).positions.items()}

    assert predictions(12) == {"token 0": 1, "tokens 1-7": 7, "from token 8": 4}
    assert predictions(4) == {"token 0": 1, "tokens 1-7": 3}


@pytest.mark.parametrize(("at", "name"), [(0, "token 0"), (1, "tokens 1-7"), (7, "tokens 1-7"), (8, "from token 8")])
def test_a_shift_is_counted_where_it_happens(at: int, name: str) -> None:
    logprobs = [log(0.3 if position == at else 0.6) for position in range(12)]
    tops = [[entry, log(0.2)] for entry in logprobs]
    there = make_predictions(predictions=12, logprobs=logprobs, top_logprobs=tops)
    found = compare([make_predictions(predictions=12)], [there], expected=1)
    assert [entry for entry, shift in found.positions.items() if shift.kl_percentiles["max"] > 1e-9] == [name]
    assert [(entry.text, entry.position) for entry in found.worst if entry.kl > 1e-9] == [("boolq/0", at)]


def test_the_order_of_the_top_does_not_matter() -> None:
    here = make_predictions()
    turned = make_predictions(top_tokens=[[2, 1]] * 3, top_logprobs=[[log(0.2), log(0.6)]] * 3)
    shift = overall(compare([here], [turned], expected=1))
    assert (shift.kl.mean, shift.same_top.mean) == (0, 1)


def test_the_most_likely_token_changes() -> None:
    tops = [[log(0.6), log(0.2)], [log(0.3), log(0.4)], [log(0.6), log(0.2)]]
    there = make_predictions(logprobs=[entry[0] for entry in tops], top_logprobs=tops, best=[" one", " two", " one"])
    found = compare([make_predictions()], [there], expected=1)
    assert overall(found).same_top.mean == pytest.approx(2 / 3)
    worst = found.worst[0]
    assert (worst.position, worst.before, worst.follows, worst.token) == (1, " 1", " 2", 1)
    assert (worst.baseline, worst.other) == (" one", " two")


def test_the_token_that_follows_counts_even_where_it_is_unlikely() -> None:
    here = make_predictions(tokens=[9, 5, 5, 5], logprobs=[log(0.01)] * 3)
    there = make_predictions(tokens=[9, 5, 5, 5], logprobs=[log(0.001)] * 3)
    shift = overall(compare([here], [there], expected=1))
    assert shift.loglikelihood.mean == pytest.approx(log(0.1))
    assert shift.kl.mean == pytest.approx(0.01 * log(10) + 0.19 * log(0.19 / 0.199))
    assert shift.lumped == pytest.approx(0.19)


def test_texts_that_cannot_be_compared_are_faults() -> None:
    one, two = make_predictions("boolq/0"), make_predictions("boolq/1")
    assert compare([one, two], [one], expected=2).faults == [
        "1 of 2 texts are missing in the compressed arm",
        "1 texts are in one arm only, the first is boolq/1",
    ]
    other_tokens = make_predictions("boolq/1", tokens=[9, 1, 1, 2])
    assert compare([one, two], [one, other_tokens], expected=2).faults == [
        "the tokens of boolq/1 differ between the arms"
    ]
    other_text = make_predictions("boolq/1", text_hash="another")
    found = compare([one, two], [one, other_text], expected=2, names=("baseline", "baseline-again"))
    assert found.faults == ["boolq/1 is another text in the baseline-again arm"]
    assert found.texts == 1
    nothing = compare([], [], expected=2)
    assert (nothing.overall, nothing.positions, nothing.worst) == (None, {}, [])
    assert len(nothing.faults) == 2


def test_a_failed_request_is_counted_and_no_prediction() -> None:
    broken = TextRecord(text="boolq/1", text_hash="hash of boolq/1", error="HTTP 500")
    found = compare(
        [make_predictions("boolq/0"), make_predictions("boolq/1")], [make_predictions("boolq/0"), broken], expected=2
    )
    assert (found.texts, found.failed, found.faults) == (1, 1, [])


def test_only_so_many_outliers_the_farthest_first() -> None:
    here = make_predictions(predictions=20)
    logprobs = [log(0.6 - 0.01 * position) for position in range(20)]
    there = make_predictions(
        predictions=20, logprobs=logprobs, top_logprobs=[[entry, log(0.2)] for entry in logprobs]
    )
    found = compare([here], [there], expected=1)
    assert [entry.position for entry in found.worst] == list(range(19, 9, -1))
    assert found.worst[0].before == "".join(f" {number}" for number in range(12, 20))


def test_the_same_numbers_again() -> None:
    here = [make_predictions(f"boolq/{number}", 9) for number in range(9)]
    there = [make_predictions(f"boolq/{number}", 9, likely=0.6 - 0.01 * number) for number in range(9)]
    found = compare(here, there, expected=9)
    assert compare(here, there, expected=9) == found
    assert Fidelity.model_validate_json(found.model_dump_json()) == found
