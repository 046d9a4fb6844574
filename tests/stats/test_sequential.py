import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from harness.stats.paired import PairedCounts, paired_bounds
from harness.stats.sequential import (
    FEWEST,
    Design,
    decide,
    default_looks,
    floor_decided,
    make_design,
    repeated_bounds,
)
from harness.stats.spending import crossing_chances


def counts(n: int, lost: int, won: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, baseline_only=lost, compressed_only=won, both_wrong=0)


@pytest.mark.parametrize(
    ("questions", "looks"),
    [
        (1, (1,)),
        (16, (16,)),
        (20, (17, 20)),
        (64, (16, 22, 32, 43, 54, 64)),
        (200, (25, 38, 50, 67, 100, 134, 167, 200)),
        (3270, (205, 409, 614, 818, 1090, 1635, 2180, 2725, 3270)),
    ],
)
def test_looks(questions: int, looks: tuple[int, ...]) -> None:
    assert default_looks(questions) == looks
    assert make_design(questions).looks == looks


@settings(deadline=None)
@given(st.integers(1, 5000))
def test_looks_rise_to_the_end(questions: int) -> None:
    looks = default_looks(questions)
    assert looks[-1] == questions
    assert list(looks) == sorted(set(looks))
    assert looks[0] >= min(FEWEST, questions)


@pytest.mark.parametrize("looks", [(), (10, 20), (20, 10, 30), (10, 10, 30), (0, 30), (10, 40)])
def test_looks_that_do_not_rise_to_the_end_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must rise from 1 or more to 30"):
        make_design(30, looks=looks)


def test_no_question_makes_no_design() -> None:
    with pytest.raises(ValueError, match="must rise from 1"):
        make_design(0)


def test_a_number_of_questions_that_is_no_look_is_refused() -> None:
    design = make_design(64)
    for use in (lambda: decide(design, counts(17, 0, 0), 0.1), lambda: repeated_bounds(design, counts(17, 0, 0))):
        with pytest.raises(ValueError, match="17 questions are none of this design's looks: 16, 22, 32"):
            use()


def test_one_look_is_the_fixed_size_test() -> None:
    design = make_design(200, looks=(200,))
    assert (*design.pass_z, *design.fail_z) == pytest.approx([norm.isf(0.05)] * 2)
    of = counts(200, 12, 6)
    assert repeated_bounds(design, of) == pytest.approx(paired_bounds(of), abs=1e-9)
    assert decide(design, counts(200, 4, 4), 0.05) == "PASS"
    assert decide(design, counts(200, 30, 2), 0.05) == "FAIL"
    assert decide(design, counts(200, 12, 4), 0.05) is None


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.01])
@pytest.mark.parametrize("questions", [64, 128, 3270])
def test_looking_often_costs_under_two_points_of_power(questions: int, alpha: float) -> None:
    """In the limit of many discordant pairs; the validation repeats it with the real tables."""
    design = make_design(questions, alpha=alpha)
    fractions = [look / questions for look in design.looks]
    for drift in np.linspace(0.0, 4.5, 10).tolist():
        lost = norm.sf(norm.isf(alpha) - drift) - sum(crossing_chances(fractions, design.pass_z, drift))
        assert -1e-9 < lost < 0.02


def test_the_same_table_decides_late_what_it_does_not_decide_early() -> None:
    design = make_design(200)
    assert decide(design, counts(25, 0, 0), 0.05) is None
    assert decide(design, counts(50, 0, 0), 0.05) is None
    assert decide(design, counts(200, 0, 0), 0.05) == "PASS"


@pytest.mark.parametrize(("questions", "margin"), [(3270, 0.02), (1319, 0.03), (1319, 0.05), (3270, 0.05)])
def test_identical_models_need_a_third_of_the_questions(questions: int, margin: float) -> None:
    design = make_design(questions)
    stopped = next(look for look in design.looks if decide(design, counts(look, 0, 0), margin))
    assert stopped * 3 <= questions + 3


def test_a_fail_of_several_tasks_needs_more() -> None:
    alone, beside = make_design(200), make_design(200, fail_alpha=0.025)
    assert beside.pass_z == alone.pass_z
    assert all(more > less for more, less in zip(beside.fail_z, alone.fail_z, strict=True))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from((16, 64, 128)), st.data(), st.floats(0.01, 0.2))
def test_a_verdict_is_never_at_odds_with_the_bounds_beside_it(
    questions: int, data: st.DataObject, margin: float
) -> None:
    design = make_design(questions, fail_alpha=0.025)
    n = data.draw(st.sampled_from(design.looks))
    lost = data.draw(st.integers(0, n))
    of = counts(n, lost, data.draw(st.integers(0, n - lost)))
    low, high = repeated_bounds(design, of)
    verdict = decide(design, of, margin)
    if verdict == "PASS":
        assert low >= -margin - 1e-8
    if verdict == "FAIL":
        assert high <= -margin + 1e-8


def chances(design: Design, p_lost: float, p_won: float, max_drop: float) -> tuple[float, float]:
    """Follow every table from look to look: the exact chances of PASS and FAIL, without simulation."""
    alive = {(0, 0): 1.0}
    ends = {"PASS": 0.0, "FAIL": 0.0}
    before = 0
    for look in design.looks:
        step = look - before
        lost, won = np.meshgrid(np.arange(step + 1), np.arange(step + 1), indexing="ij")
        table = trinomial(step, lost, won, p_lost, p_won)
        grid = np.zeros((before + 1, before + 1))
        for at, mass in alive.items():
            grid[at] = mass
        spread = np.zeros((look + 1, look + 1))
        for row in range(step + 1):
            for column in range(step + 1 - row):
                spread[row : row + before + 1, column : column + before + 1] += table[row, column] * grid
        alive = {}
        for (at_lost, at_won), mass in np.ndenumerate(spread):
            if mass > 1e-14 and at_lost + at_won <= look:
                verdict = decide(design, counts(look, at_lost, at_won), max_drop)
                if verdict is None:
                    alive[at_lost, at_won] = float(mass)
                else:
                    ends[verdict] += float(mass)
        before = look
    return ends["PASS"], ends["FAIL"]


def trinomial(n: int, lost: np.ndarray, won: np.ndarray, p_lost: float, p_won: float) -> np.ndarray:
    return np.asarray(binom.pmf(lost, n, p_lost) * binom.pmf(won, n - lost, p_won / (1 - p_lost)))


@pytest.mark.parametrize("p_won", [0.0, 0.01, 0.05, 0.15])
@pytest.mark.parametrize(("questions", "margin"), [(48, 0.05), (64, 0.1)])
def test_at_the_margin_no_more_than_5_percent_of_all_runs_err(questions: int, margin: float, p_won: float) -> None:
    passes, fails = chances(make_design(questions), p_won + margin, p_won, margin)
    assert passes <= 0.05
    assert fails <= 0.05


@pytest.mark.parametrize(
    ("right", "asked", "expected"),
    [
        (160, 180, True),
        (159, 180, None),
        (0, 0, None),
        (0, 40, None),
        (0, 41, False),
        (200, 200, True),
        (159, 200, False),
    ],
)
def test_a_floor_is_decided_when_the_rest_cannot_change_it(right: int, asked: int, expected: object) -> None:
    assert floor_decided(right, asked, 200, 0.8) is expected
