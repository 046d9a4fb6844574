"""What guessing scores, and which way answers shift."""

import pytest

from harness.judge.choices import summarise_choices
from harness.judge.pairing import Pair
from harness.records.samples import Sample
from tests.answers import make_choice, make_sample


def answered(number: int, target: str, said: str, margin: float = 1.0) -> Sample:
    """An answer whose choice is `margin` nats ahead."""
    logprobs = [-2.0, -2.0 + margin] if said == "yes" else [-2.0 + margin, -2.0]
    return make_choice(number, right=said == target, target=target, answer=said, logprobs=logprobs)


def pairs(*rows: tuple[str, str, str]) -> list[Pair]:
    """Pairs of target, the baseline's answer, the compressed arm's."""
    return [
        Pair(baseline=answered(number, target, before), compressed=answered(number, target, after))
        for number, (target, before, after) in enumerate(rows)
    ]


def test_a_bias_is_seen_as_one() -> None:
    """Three of four are yes; the baseline says no to all, the compressed arm yes: "+50 points" of nothing."""
    found = summarise_choices(pairs(*[("yes", "no", "yes")] * 3, ("no", "no", "yes")))
    assert found is not None
    assert found.names == ["no", "yes"]
    assert (found.right, found.chance) == ([0.25, 0.75], 0.75)
    assert (found.baseline, found.compressed) == ([1.0, 0.0], [0.0, 1.0])
    # Saying one thing is half right by class, whichever.
    assert (found.baseline_balanced, found.compressed_balanced) == (0.5, 0.5)
    assert found.towards_last is not None
    assert found.towards_last.mean == pytest.approx(2.0)


def test_choices_that_differ_by_question_are_numbered() -> None:
    other = make_choice(1, choices=["a", "b", "c"], logprobs=[-1.0, -2.0, -3.0], target="a", answer="a", right=True)
    found = summarise_choices([*pairs(("yes", "yes", "yes")), Pair(baseline=other, compressed=other)])
    assert found is not None
    assert found.names == ["choice 1", "choice 2", "choice 3"]
    assert found.right == [0.5, 0.5, 0.0]
    assert found.towards_last is None


def test_generated_answers_have_none() -> None:
    assert summarise_choices([Pair(baseline=make_sample(), compressed=make_sample())]) is None
    assert summarise_choices([]) is None
