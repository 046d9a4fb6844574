import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.stats import binom, norm

from harness.stats.exact import Side, chance_to_reach, critical_score
from harness.stats.paired import PairedCounts, paired_bounds
from harness.stats.sequential import (
    FEWEST,
    Design,
    decide,
    decide_tables,
    default_looks,
    floor_decided,
    make_design,
    repeated_bounds,
)


def counts(n: int, lost: int, won: int) -> PairedCounts:
    return PairedCounts(both_right=n - lost - won, baseline_only=lost, compressed_only=won, both_wrong=0)


@pytest.mark.parametrize(
    ("questions", "looks"),
    [
        (1, (1,)),
        (16, (16,)),
        (20, (20,)),
        (40, (20, 40)),
        (64, (16, 22, 32, 64)),
        (200, (25, 38, 50, 67, 100, 200)),
        (3270, (205, 409, 614, 818, 1090, 1635, 3270)),
    ],
)
def test_looks(questions: int, looks: tuple[int, ...]) -> None:
    assert default_looks(questions) == looks
    assert make_design(questions, 0.05).looks == looks


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
        make_design(30, 0.05, looks=looks)


def test_no_question_makes_no_design() -> None:
    with pytest.raises(ValueError, match="must rise from 1"):
        make_design(0, 0.05)


def test_a_number_of_questions_that_is_no_look_is_refused() -> None:
    design = make_design(64, 0.1)
    for use in (lambda: decide(design, counts(17, 0, 0)), lambda: repeated_bounds(design, counts(17, 0, 0))):
        with pytest.raises(ValueError, match="17 questions are none of this design's looks: 16, 22, 32, 64"):
            use()


def test_one_look_is_the_fixed_size_test() -> None:
    design = make_design(1319, 0.05, looks=(1319,))
    assert (*design.pass_z, *design.fail_z) == pytest.approx([norm.isf(0.05)] * 2, abs=0.04)
    assert design.pass_z == (critical_score(1319, 0.05, 0.05, "PASS"),)
    of = counts(1319, 60, 30)
    assert repeated_bounds(design, of) == pytest.approx(paired_bounds(of), abs=5e-4)
    assert decide(design, counts(1319, 30, 30)) == "PASS"
    assert decide(design, counts(1319, 150, 30)) == "FAIL"
    assert decide(design, counts(1319, 90, 30)) is None


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.5, 2.0])
@pytest.mark.parametrize("discordance", [0.0, 0.04, 0.08, 0.2])
@pytest.mark.parametrize(("questions", "margin"), [(150, 0.02), (200, 0.05), (256, 0.03), (1319, 0.05)])
def test_the_last_look_costs_under_two_points_of_power(
    questions: int, margin: float, drop: float, discordance: float
) -> None:
    """At 150, 200 and 256 questions the earliest spending costs 22, 9 and 6 points: a later one is taken."""
    side: Side = "PASS" if drop < 1 else "FAIL"
    true_drop = drop * margin
    turned = max(discordance, true_drop)
    design = make_design(questions, margin)
    last = design.pass_z[-1] if side == "PASS" else design.fail_z[-1]
    shares = {"p_lost": (turned + true_drop) / 2, "p_won": (turned - true_drop) / 2}
    fixed = critical_score(questions, margin, 0.05, side)
    lost = chance_to_reach(questions, margin, fixed, side, **shares) - chance_to_reach(
        questions, margin, last, side, **shares
    )
    assert 0 <= lost < 0.02


def test_the_same_table_decides_late_what_it_does_not_decide_early() -> None:
    design = make_design(200, 0.05)
    assert decide(design, counts(25, 0, 0)) is None
    assert decide(design, counts(50, 0, 0)) is None
    assert decide(design, counts(200, 0, 0)) == "PASS"


@pytest.mark.parametrize(("questions", "margin"), [(3270, 0.02), (1319, 0.05), (3270, 0.05)])
def test_identical_models_need_a_third_of_the_questions(questions: int, margin: float) -> None:
    design = make_design(questions, margin)
    stopped = next(look for look in design.looks if decide(design, counts(look, 0, 0)))
    assert stopped * 3 <= questions + 3


def test_a_fail_of_several_tasks_needs_more() -> None:
    alone, beside = make_design(200, 0.05), make_design(200, 0.05, fail_alpha=0.025)
    assert beside.pass_z == alone.pass_z
    assert all(more > less for more, less in zip(beside.fail_z, alone.fail_z, strict=True))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from((16, 64, 128)), st.data(), st.sampled_from((0.01, 0.03, 0.1, 0.5)))
def test_the_verdict_is_what_the_bounds_beside_it_say(questions: int, data: st.DataObject, margin: float) -> None:
    design = make_design(questions, margin, fail_alpha=0.025)
    n = data.draw(st.sampled_from(design.looks))
    lost = data.draw(st.integers(0, n))
    of = counts(n, lost, data.draw(st.integers(0, n - lost)))
    low, high = repeated_bounds(design, of)
    # By a hair, rounding may decide otherwise.
    assume(min(abs(low + margin), abs(high + margin)) > 1e-8)
    assert decide(design, of) == ("PASS" if low > -margin else "FAIL" if high < -margin else None)


def chances(design: Design, p_lost: float, p_won: float) -> tuple[float, float]:
    """Follow every table from look to look: the exact chances of PASS and FAIL, without simulation."""
    going = np.ones((1, 1))
    passes = fails = 0.0
    before = 0
    for look in design.looks:
        step = np.zeros((look - before + 1, look - before + 1))
        lost, won = np.indices((look - before + 1, look - before + 1))
        possible = lost + won <= look - before
        step[possible] = trinomial(look - before, lost[possible], won[possible], p_lost, p_won)
        going = np.maximum(fftconvolve(going, step), 0.0)
        lost, won = np.indices((look + 1, look + 1))
        possible = lost + won <= look
        decided = np.zeros(going.shape, np.int64)
        decided[possible] = decide_tables(design, look, lost[possible], won[possible])
        passes += float(going[decided == 1].sum())
        fails += float(going[decided == -1].sum())
        going[(decided != 0) | ~possible] = 0.0
        before = look
    return passes, fails


Counts = NDArray[np.int64]


def trinomial(n: int, lost: Counts, won: Counts, p_lost: float, p_won: float) -> NDArray[np.float64]:
    return np.asarray(binom.pmf(lost, n, p_lost) * binom.pmf(won, n - lost, p_won / (1 - p_lost)))


@pytest.mark.parametrize("p_won", [0.0, 0.002, 0.01, 0.05, 0.15])
@pytest.mark.parametrize(("questions", "margin"), [(48, 0.05), (64, 0.1), (128, 0.1), (200, 0.05), (256, 0.03)])
def test_at_the_margin_no_more_than_5_percent_of_all_runs_err(questions: int, margin: float, p_won: float) -> None:
    passes, fails = chances(make_design(questions, margin), p_won + margin, p_won)
    assert passes <= 0.05
    assert fails <= 0.05


def test_the_chances_of_all_tables_add_up() -> None:
    design = make_design(64, 0.1, looks=(64,))
    passes, fails = chances(design, 0.2, 0.1)
    assert passes == pytest.approx(
        chance_to_reach(64, 0.1, design.pass_z[0], "PASS", p_lost=0.2, p_won=0.1), abs=1e-9
    )
    assert fails == pytest.approx(chance_to_reach(64, 0.1, design.fail_z[0], "FAIL", p_lost=0.2, p_won=0.1), abs=1e-9)


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
