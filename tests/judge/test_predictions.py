import json
from math import inf, log

import pytest

from harness.judge.prediction_shift import PredictionShift, moves
from harness.judge.predictions import Fidelity, compare
from harness.records.predictions import CompareLine, TextPredictions, TextRecord
from tests.answers import make_line, make_text


def overall(fidelity: Fidelity) -> PredictionShift:
    assert fidelity.faults == []
    assert fidelity.overall is not None
    return fidelity.overall


def against(texts: list[TextRecord], *likely: float) -> Fidelity:
    """Compare two arms that read the same texts: the other one's probability of what follows, of each or of all."""
    each = likely * (len(texts) if len(likely) == 1 else 1) or (0.6,) * len(texts)
    lines = [make_line(text, probability) for text, probability in zip(texts, each, strict=True)]
    return of_lines(texts, lines)


def of_lines(texts: list[TextRecord], lines: list[CompareLine]) -> Fidelity:
    pieces = {token: f" {token}" for token in range(1, 21)}
    return compare(texts, texts, {line.text: line for line in lines}, expected=len(texts), pieces=pieces)


def some_texts(count: int, predictions: int = 3) -> list[TextRecord]:
    return [make_text(f"boolq/{number}", predictions) for number in range(count)]


def test_an_arm_against_itself() -> None:
    found = against(some_texts(10, 12))
    shift = overall(found)
    assert (found.texts, found.failed, shift.predictions) == (10, 0, 120)
    assert (shift.kl.mean, shift.kl.low, shift.kl.high) == (0, 0, 0)
    assert (shift.loglikelihood.mean, shift.kl_percentiles["max"]) == (0, 0)
    assert (shift.same_top.mean, shift.same_top.high) == (1, 1)
    # 0.05 ** (1 / 120): that none of 120 tokens changed proves no more.
    assert shift.same_top.low == pytest.approx(0.05 ** (1 / 120))


def test_a_known_shift() -> None:
    shift = overall(against(some_texts(10, 12), 0.3))
    expected = 0.6 * log(2) + 0.4 * log(0.4 / 0.7)
    assert shift.kl.mean == pytest.approx(expected)
    assert shift.kl_percentiles == pytest.approx(dict.fromkeys(("50", "90", "99", "max"), expected))
    assert shift.loglikelihood.mean == pytest.approx(-log(2))
    assert shift.same_top.mean == 1


def test_bounds_come_from_texts_not_from_tokens() -> None:
    def shift(texts: int, predictions: int) -> PredictionShift:
        # Every other text is moved, with all its tokens.
        return overall(against(some_texts(texts, predictions), *(0.6 - number % 2 * 0.3 for number in range(texts))))

    few, many = shift(8, 8), shift(32, 8)
    assert few.kl.low < few.kl.mean < few.kl.high
    assert many.kl.high - many.kl.low < 0.7 * (few.kl.high - few.kl.low)
    longer = shift(8, 32)
    assert longer.kl.high - longer.kl.low == pytest.approx(few.kl.high - few.kl.low, rel=0.05)
    one = shift(1, 8)
    assert (one.kl.low, one.kl.high) == (-inf, inf)


def test_positions_stand_apart() -> None:
    def predictions(count: int) -> dict[str, int]:
        positions = against(some_texts(1, count)).positions
        return {text: shift.predictions for text, shift in positions.items()}

    assert predictions(12) == {"token 0": 1, "tokens 1-7": 7, "from token 8": 4}
    assert predictions(4) == {"token 0": 1, "tokens 1-7": 3}


@pytest.mark.parametrize(("at", "name"), [(0, "token 0"), (1, "tokens 1-7"), (7, "tokens 1-7"), (8, "from token 8")])
def test_a_shift_is_counted_where_it_happens(at: int, name: str) -> None:
    text = make_text(predictions=12)
    found = of_lines([text], [make_line(text, *(0.3 if position == at else 0.6 for position in range(12)))])
    assert [entry for entry, shift in found.positions.items() if shift.kl_percentiles["max"] > 1e-9] == [name]
    assert [(entry.text, entry.position) for entry in found.worst if entry.kl > 1e-9] == [("boolq/0", at)]


def test_the_most_likely_token_changes() -> None:
    text = make_text()
    line = make_line(text, 0.6, 0.3, 0.6, changed=[1])
    found = of_lines([text], [line])
    assert overall(found).same_top.mean == pytest.approx(2 / 3)
    worst = found.worst[0]
    assert (worst.position, worst.before, worst.follows, worst.token) == (1, " 1", " 2", 2)
    assert (worst.baseline, worst.other) == (" 1", " 2")
    # A token whose text nobody told is named by its number.
    unknown = compare([text], [text], {line.text: line}, expected=1).worst[0]
    assert (unknown.before, unknown.follows, unknown.other) == ("[1]", "[2]", "[2]")


def test_older_runs_which_told_other_things_of_texts_can_be_judged_again() -> None:
    text = make_text()
    old = {**text.model_dump(), "pieces": [" 1"], "logprobs": [-0.5], "best": [" 1"]}
    assert TextRecord.model_validate_json(json.dumps(old)) == text
    line = make_line(text, 0.3).model_copy(update={"baseline_top": [], "candidate_top": []})
    assert overall(of_lines([text], [CompareLine.model_validate_json(line.model_dump_json())])).predictions == 3
    with pytest.raises(ValueError, match="not of one length"):
        CompareLine.model_validate_json(make_line(text).model_copy(update={"candidate_top": []}).model_dump_json())


def test_a_text_that_the_server_did_not_compare_is_a_fault() -> None:
    texts = some_texts(4)
    said = [CompareLine(policy=0, text=text.token_hash, not_measured="in two parts") for text in texts[1::2]]
    found = of_lines(texts, [*said, make_line(texts[2])])
    assert found.faults == [
        "the compressed arm's server did not compare boolq/0: nothing of it was written",
        "the compressed arm's server did not compare 2 texts, the first is boolq/1: in two parts",
    ]
    assert found.texts == 1


def test_each_text_stands_by_itself_too() -> None:
    found = against([make_text("boolq/0", 4), make_text("boolq/1", 12)], 0.3, 0.6)
    assert [(text.text, text.predictions) for text in found.by_text] == [("boolq/0", 4), ("boolq/1", 12)]
    moved, unmoved = found.by_text
    assert (unmoved.kl, unmoved.same_top, unmoved.loglikelihood) == (0, 1, 0)
    assert moved.loglikelihood == pytest.approx(-log(2))
    # A quarter of all tokens moved, not half.
    assert overall(found).kl.mean == pytest.approx(moved.kl / 4)


def test_rounding_leaves_no_negative_divergence() -> None:
    [only] = moves([TextPredictions(text="t", kl=[-1e-9], baseline=[-1.0], candidate=[-1.0], same_top=[True])])
    assert only.kl == 0


def test_texts_that_cannot_be_compared_are_faults() -> None:
    one, two = some_texts(2)
    lines = {text.token_hash: make_line(text) for text in (one, two)}
    assert compare([one, two], [one], lines, expected=2).faults == [
        "1 of 2 texts are missing in the compressed arm",
        "1 texts are in one arm only, the first is boolq/1",
    ]
    other_tokens = make_text("boolq/1", tokens=[9, 1, 1, 2])
    assert compare([one, two], [one, other_tokens], lines, expected=2).faults == [
        "the tokens of boolq/1 differ between the arms"
    ]
    other_text = make_text("boolq/1", text_hash="another")
    found = compare([one, two], [one, other_text], lines, expected=2, names=("baseline", "baseline-again"))
    assert found.faults == ["boolq/1 is another text in the baseline-again arm"]
    assert found.texts == 1
    nothing = compare([], [], {}, expected=2)
    assert (nothing.overall, nothing.positions, nothing.worst) == (None, {}, [])
    assert len(nothing.faults) == 2


def test_a_failed_request_is_counted_and_no_prediction() -> None:
    one, two = some_texts(2)
    broken = TextRecord(text="boolq/1", text_hash="hash of boolq/1", error="HTTP 500")
    found = compare([one, two], [one, broken], {one.token_hash: make_line(one)}, expected=2)
    assert (found.texts, found.failed, found.faults) == (1, 1, [])


def test_only_so_many_outliers_the_farthest_first() -> None:
    text = make_text(predictions=20)
    found = of_lines([text], [make_line(text, *(0.6 - 0.01 * position for position in range(20)))])
    assert [entry.position for entry in found.worst] == list(range(19, 9, -1))
    assert found.worst[0].before == "".join(f" {number}" for number in range(12, 20))


def test_the_same_numbers_again() -> None:
    likely = [0.6 - 0.01 * number for number in range(9)]
    found = against(some_texts(9, 9), *likely)
    assert against(some_texts(9, 9), *likely) == found
    assert Fidelity.model_validate_json(found.model_dump_json()) == found
