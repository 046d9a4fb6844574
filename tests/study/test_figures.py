import pytest

from harness.sglang_plugin.policy import Choice
from harness.study.figures import figures, kl_of
from tests.study.measured import TEXTS, TOKENS, measured, sample

INT8 = Choice(codec="int8_token")
EVERYWHERE = {("ffn", 0): INT8, ("attention", 0): INT8}
PLAIN = {("ffn", 0): None, ("attention", 0): None}


def test_the_mean_is_over_all_predictions_and_its_bounds_hold_it() -> None:
    one = measured("candidate", "int8", EVERYWHERE, 0.07)
    assert kl_of(one) == pytest.approx(0.07)
    assert kl_of(one, bound="low") < 0.07 < kl_of(one, bound="high")
    assert kl_of(one, texts={"text-0"}) > kl_of(one, texts={f"text-{TEXTS - 1}"})


def test_positions_are_told_apart() -> None:
    found = figures(measured("candidate", "int8", EVERYWHERE, 0.07), measured("noise", "plain", PLAIN, 0.0))
    assert found.texts == TEXTS
    assert found.overall.predictions == TEXTS * TOKENS
    assert found.positions["token 0"].kl.mean == pytest.approx(10 * found.positions["from token 8"].kl.mean)
    assert found.positions["token 0"].same_top.mean == 0
    assert found.positions["from token 8"].same_top.mean == 1
    assert found.overall.loglikelihood.mean == pytest.approx(-0.07)
    assert found.scored is None


def test_the_scored_task_counts_what_turned_and_how_far_margins_moved() -> None:
    before = tuple(sample(document, yes=-0.5, no=-1.0) for document in range(4))
    after = (sample(0, yes=-1.0, no=-0.5), *(sample(document, yes=-0.5, no=-1.2) for document in range(1, 4)))
    found = figures(
        measured("candidate", "int8", EVERYWHERE, 0.07, samples=after),
        measured("noise", "plain", PLAIN, 0.0, samples=before),
    ).scored
    assert found is not None
    assert (found.questions, found.flips, found.changed) == (4, 1, 1)
    assert found.margins is not None
    assert found.margins.mean == pytest.approx((-1.0 + 3 * 0.2) / 4)
