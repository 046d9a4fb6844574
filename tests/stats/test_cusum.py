"""The CUSUM of nights: scores, the height, what becomes the reference, what repeats."""

from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from harness.stats.cusum import Cusum, K, Night, Step, limit, score, surely_from

N = 1314
Values = NDArray[np.float64]


def right(*wrong: int, n: int = N) -> Values:
    values = np.ones(n)
    values[list(wrong)] = 0.0
    return values


def add(cusum: Cusum, *values: Values) -> list[Step]:
    return [cusum.add(Night(values=night)) for night in values]


def test_one_chart_speaks_from_4_2_and_more_charts_later() -> None:
    assert limit() == pytest.approx(4.2, abs=0.02)
    assert surely_from() == pytest.approx(norm.isf(1 / 410))
    assert limit(4) > limit(2) > limit()
    # Siegmund's formula, backwards.
    x = 2 * K * (limit(4) + 1.166)
    assert (np.exp(x) - x - 1) / (2 * K**2) == pytest.approx(4 * 410)


@pytest.mark.parametrize("charts", [1, 2, 4, 10, 40])
def test_independent_nights_that_reach_the_height_are_always_sure_enough(charts: int) -> None:
    most = min((limit(charts) + K * nights) / sqrt(nights) for nights in range(1, 100))
    assert most > surely_from(charts)


def test_the_score_of_right_and_wrong_is_mcnemars() -> None:
    worse = np.zeros(N)
    worse[:30], worse[30:40] = 1.0, -1.0
    assert score(worse) == pytest.approx((30 - 10) / sqrt(40))
    exact = binomtest(30, 40, 0.5, alternative="greater").pvalue
    assert norm.sf(score(worse)) == pytest.approx(exact, abs=0.001)


def test_nothing_changed_is_a_score_of_exactly_nothing() -> None:
    assert score(np.zeros(N)) == 0.0
    assert score(np.array([np.nan, 0.0])) == 0.0


def test_items_of_a_cluster_count_as_one() -> None:
    worse, alone = np.zeros(N), np.arange(N)
    worse[:16] = 1.0
    together = alone.copy()
    together[:16] = 0
    assert score(worse, alone) == pytest.approx(4.0)
    assert score(worse, together) == pytest.approx(1.0)


def test_a_deterministic_machine_never_alarms_and_two_points_lost_are_seen_at_once() -> None:
    cusum = Cusum()
    assert {step.height for step in add(cusum, *[right(1, 2)] * 200)} == {0.0}
    [step] = add(cusum, right(1, 2, *range(100, 126)))
    assert step.alarm
    assert (step.since, step.reference) == (200, 199)
    suspects = cusum.suspects()
    assert suspects is not None
    assert suspects.since == 200
    assert np.flatnonzero(suspects.worse).tolist() == [*range(100, 126)]


def test_the_same_few_lost_answers_are_no_more_evidence_on_the_hundredth_night() -> None:
    """Four lost and none won: 2 standard errors, which summed up night by night would reach any height."""
    cusum = Cusum()
    steps = add(cusum, *[right()] * 10, *[right(1, 2, 3, 4)] * 100)
    assert not any(step.alarm for step in steps)
    assert any(step.together == pytest.approx(2.0) for step in steps)
    # They are the reference by and by, so that the next harm is seen beside them.
    assert add(cusum, right(1, 2, 3, 4, *range(100, 126)))[0].alarm


def test_a_failed_night_is_judged_and_never_the_reference() -> None:
    cusum = Cusum()
    add(cusum, right(), right())
    failed = cusum.add(Night(values=right(*range(9)), good=False))
    assert failed.score == pytest.approx(3.0)
    assert failed.reference == 1
    [after] = add(cusum, right())
    assert after.score == 0.0
    assert [step.reference for step in add(cusum, *[right()] * 9)][-1] == 12
    # As high as if that night had never been.
    assert cusum.add(Night(values=right(*range(9)))).score == pytest.approx(3.0)


def test_failed_nights_at_the_start_are_no_reference_either() -> None:
    cusum = Cusum()
    first = [cusum.add(Night(values=right(*range(100)), good=False)) for _ in range(3)]
    assert [step.reference for step in first] == [None] * 3
    assert [step.reference for step in add(cusum, right(), right())] == [3, 4]


def test_an_alarm_lasts_until_a_night_is_no_worse_and_comes_back_with_the_next_that_is() -> None:
    cusum, harmed = Cusum(), right(*range(40))
    steps = add(cusum, *[right()] * 5, *[harmed] * 50, right(), harmed)
    assert [step.alarm for step in steps] == [False] * 5 + [True] * 50 + [False, True]
    assert {step.reference for step in steps[5:]} == {4}
    assert {step.since for step in steps[5:]} == {5}


def test_a_repaired_figure_is_the_reference_again_without_the_bad_nights() -> None:
    cusum, harmed = Cusum(), right(*range(40))
    add(cusum, *[right()] * 5, *[harmed] * 3, *[right()] * 20)
    assert cusum.suspects() is None
    assert add(cusum, harmed)[0].score == pytest.approx(sqrt(40))


def test_what_a_person_accepts_is_the_new_normal() -> None:
    cusum, harmed = Cusum(), right(*range(40))
    assert add(cusum, *[right()] * 5, harmed)[-1].alarm
    accepted = cusum.add(Night(values=harmed, good=False, accepted=True))
    assert (accepted.alarm, accepted.height, accepted.reference) == (False, 0.0, 6)
    assert add(cusum, harmed)[0].score == 0.0
    assert add(cusum, right(*range(80)))[0].alarm


def test_a_drift_in_small_steps_is_seen() -> None:
    """A tenth of a point a night, of answers that change by themselves besides."""
    rng = np.random.default_rng(3)
    chances = (rng.random(N) < 0.8).astype(float)
    chances[:100] = 0.5
    cusum = Cusum()
    for night in range(60):
        lost = max(0, night - 20)
        now = chances.copy()
        now[np.flatnonzero(chances == 1)[:lost]] = 0.0
        step = cusum.add(Night(values=(rng.random(N) < now).astype(float)))
        if step.alarm:
            break
    assert step.alarm
    suspects = cusum.suspects()
    assert suspects is not None
    assert 20 <= suspects.since < night < 50


def test_the_night_it_began_with_is_named_though_the_one_before_looked_worse_by_luck() -> None:
    rng = np.random.default_rng(5)
    named = []
    for _ in range(40):
        chances = (rng.random(N) < 0.8).astype(float)
        chances[:100] = 0.5
        cusum = Cusum()
        for _ in range(15):
            cusum.add(Night(values=(rng.random(N) < chances).astype(float)))
        chances[np.flatnonzero(chances == 1)[:40]] = 0.0
        for _ in range(8):
            step = cusum.add(Night(values=(rng.random(N) < chances).astype(float)))
        suspects = cusum.suspects()
        assert step.alarm
        assert suspects is not None
        named.append(suspects.since)
    assert named.count(15) >= 36


def test_a_missing_answer_counts_for_nothing() -> None:
    cusum = Cusum()
    add(cusum, right(), right())
    gone = right()
    gone[:50] = np.nan
    assert add(cusum, gone)[0].score == 0.0
    assert add(cusum, right(*range(9)))[0].score == pytest.approx(3.0)


def test_what_every_text_moves_by_less_than_the_tolerance_is_no_harm() -> None:
    texts = np.linspace(0.05, 0.1, 64)
    small, large = Cusum(tolerance=0.001), Cusum(tolerance=0.001)
    assert not any(step.alarm for step in add(small, *[-texts] * 3, *[-texts - 0.0009] * 50))
    assert add(large, *[-texts] * 3, -texts - 0.002)[-1].alarm
