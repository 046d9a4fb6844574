"""WARNINGs in words: large for certain, beyond what happens by itself, and nothing else."""

import pytest

from harness.config.thresholds import KnownAnswers
from harness.judge.run_warnings import flips_concern, lost_concern, noise_concern, shift_concern
from harness.stats.flips import excess_flips
from harness.stats.shift import shift


def moved(by: float, n: int = 128) -> list[float]:
    """Return shifts of alternating sign around a small mean."""
    return [by * (1 if number % 2 else -1) + 0.01 for number in range(n)]


def test_a_large_shift_is_said_with_its_size() -> None:
    text = shift_concern("boolq", shift(moved(0.6)), None)
    assert text is not None
    assert text.startswith("boolq: compression moves the margins of the answers by 0.60 nats")
    assert "mean +0.01" in text
    assert "by itself" not in text


def test_a_small_or_uncertain_shift_is_not() -> None:
    assert shift_concern("boolq", shift(moved(0.1)), None) is None
    assert shift_concern("boolq", None, None) is None
    # One answer that moved far says little of the others.
    assert shift_concern("boolq", shift([3.0, *[0.0] * 15]), None) is None


def test_a_shift_no_larger_than_the_baselines_own_is_not() -> None:
    assert shift_concern("boolq", shift(moved(0.6)), shift(moved(0.7))) is None
    text = shift_concern("boolq", shift(moved(0.6)), shift(moved(0.001)))
    assert text is not None
    assert "by itself" in text


def test_many_changed_answers_are_said_unless_a_threshold_judges_them() -> None:
    many, few = [number < 30 for number in range(128)], [number < 5 for number in range(128)]
    text = flips_concern("boolq", excess_flips(many, None), judged=False)
    assert text is not None
    assert text.startswith("boolq: compression changes 23% of the answers (more than 1")
    assert flips_concern("boolq", excess_flips(many, None), judged=True) is None
    assert flips_concern("boolq", excess_flips(few, None), judged=False) is None
    assert flips_concern("boolq", excess_flips(many, many), judged=False) is None


@pytest.mark.parametrize(("again", "n"), [(0, 16), (1, 16), (1, 3270), (3, 128), (20, 3270)])
def test_an_answer_now_and_then_that_the_baseline_changes_by_itself_is_no_news(again: int, n: int) -> None:
    assert noise_concern("gsm8k", again, n) is None


def test_a_baseline_that_changes_by_itself() -> None:
    assert noise_concern("gsm8k", 3, 16) == (
        "gsm8k: the baseline, started again, changes 3 of 16 answers by itself (more than 5.3%, 95% sure; 1.0% is "
        "usual)"
    )
    assert noise_concern("gsm8k", 0, 0) is None


KNOWN = KnownAnswers(what="int8_token", margin_shift=0.6, answers_changed=0.23, changes_by_itself=0.2)


def test_what_is_known_is_no_warning() -> None:
    many = [number < 30 for number in range(128)]
    assert shift_concern("boolq", shift(moved(0.6)), None, KNOWN) is None
    assert flips_concern("boolq", excess_flips(many, None), judged=False, known=KNOWN) is None
    assert noise_concern("gsm8k", 3, 16, KNOWN) is None


def test_more_than_is_known_is_one() -> None:
    most = [number < 50 for number in range(128)]
    shifted = shift_concern("boolq", shift(moved(0.8)), None, KNOWN)
    assert shifted is not None
    assert shifted.endswith("more than 0.6 is known to happen")
    changed = flips_concern("boolq", excess_flips(most, None), judged=False, known=KNOWN)
    assert changed is not None
    assert changed.endswith("95% sure; 23% are known to)")
    assert noise_concern("gsm8k", 12, 16, KNOWN) is not None


def test_more_lost_than_won() -> None:
    assert lost_concern("boolq", 0.06) is None
    assert lost_concern("boolq", 0.01) == "boolq: more answers are lost than won (p = 0.01)"
