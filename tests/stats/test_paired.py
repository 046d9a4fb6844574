from collections.abc import Iterator
from math import inf, isclose, sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, norm

from harness.stats import PairedCounts, mcnemar_drop, paired_bounds, questions_to_decide
from harness.stats.paired import DECIDES

Z = float(norm.isf(0.05))
small = st.integers(0, 60)
Table = tuple[int, int, int, int]
large = st.integers(0, 200_000)


def counts(both_right: int, baseline_only: int, compressed_only: int, both_wrong: int) -> PairedCounts:
    return PairedCounts(
        both_right=both_right,
        baseline_only=baseline_only,
        compressed_only=compressed_only,
        both_wrong=both_wrong,
    )


@pytest.mark.parametrize(
    ("table", "alpha", "published"),
    [
        # Cavo et al. 2012 and Bentur et al. 2009, as analysed by Fagerland, Lydersen and Laake, Statistics in
        # Medicine 33 (2014); their difference is first less second, ours second less first.
        ((59, 16, 6, 80), 0.025, (-0.1240, -0.0054)),
        ((1, 7, 1, 12), 0.025, (-0.517, -0.026)),
        # R's PropCIs 0.3-0: scoreci.mp(25, 28, 618) at 90 %.
        ((500, 25, 28, 65), 0.05, (-0.0148, 0.0247)),
    ],
)
def test_published_intervals(table: Table, alpha: float, published: tuple[float, float]) -> None:
    assert paired_bounds(counts(*table), alpha) == pytest.approx(published, abs=6e-4)


def score(won: int, lost: int, n: int, delta: float) -> float:
    """Return the score statistic, the likelihood maximised numerically under the restriction."""

    def negative_log_likelihood(p_lost: float) -> float:
        shares = ((won, p_lost + delta), (lost, p_lost), (n - won - lost, 1 - 2 * p_lost - delta))
        if any(count and share <= 0 for count, share in shares):
            return inf
        return -sum(count * float(np.log(share)) for count, share in shares if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    inside = minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-11}
    ).x
    p_lost = min((low, float(inside), high), key=negative_log_likelihood)
    variance = (2 * p_lost + delta - delta**2) / n
    return ((won - lost) / n - delta) / sqrt(variance)


@pytest.mark.parametrize(
    "table",
    [
        (90, 6, 4, 28),
        (10, 0, 0, 10),
        (10, 3, 0, 3),
        (10, 0, 3, 3),
        (0, 20, 1, 0),
        (1, 1, 1, 1),
        (0, 0, 1, 2),
        (700, 90, 60, 469),
        (150, 17, 3, 30),
    ],
)
def test_against_a_restricted_likelihood_maximised_numerically(table: Table) -> None:
    of = counts(*table)
    for bound, target in zip(paired_bounds(of), (Z, -Z), strict=True):
        expected = brentq(
            lambda delta, target=target: score(of.compressed_only, of.baseline_only, of.n, delta) - target,
            -0.9999,
            0.9999,
            xtol=1e-9,
        )
        assert bound == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("n", [1, 2, 16, 64, 128, 1319, 3270])
def test_no_discordant_pair_has_a_closed_form(n: int) -> None:
    expected = Z**2 / (n + Z**2)
    assert paired_bounds(counts(n // 2, 0, 0, n - n // 2)) == pytest.approx((-expected, expected), abs=1e-8)


def test_no_question_tells_nothing() -> None:
    nothing = counts(0, 0, 0, 0)
    assert paired_bounds(nothing) == (-1.0, 1.0)
    assert (nothing.n, nothing.delta) == (0, 0.0)
    assert mcnemar_drop(nothing) == 1.0
    assert questions_to_decide(nothing, 0.05) is None


@pytest.mark.parametrize("n", [1, 5, 200])
def test_every_pair_discordant_the_same_way(n: int) -> None:
    low, high = paired_bounds(counts(0, n, 0, 0))
    assert low == pytest.approx(-1.0, abs=1e-8)
    assert -1.0 < high < 1.0
    low, high = paired_bounds(counts(0, 0, n, 0))
    assert high == pytest.approx(1.0, abs=1e-8)
    assert -1.0 < low < 1.0


@settings(deadline=None)
@given(large, large, large, large)
def test_bounds_enclose_the_difference_for_any_table(both_right: int, lost: int, won: int, both_wrong: int) -> None:
    of = counts(both_right, lost, won, both_wrong)
    low, high = paired_bounds(of)
    assert -1 <= low <= of.delta + 1e-9
    assert of.delta - 1e-9 <= high <= 1


@settings(deadline=None)
@given(small, small, small, small)
def test_swapping_the_arms_mirrors_the_bounds(both_right: int, lost: int, won: int, both_wrong: int) -> None:
    low, high = paired_bounds(counts(both_right, lost, won, both_wrong))
    assert paired_bounds(counts(both_right, won, lost, both_wrong)) == pytest.approx((-high, -low), abs=1e-7)


@settings(deadline=None)
@given(small, small, small, small)
def test_which_concordant_pairs_were_right_does_not_matter(
    both_right: int, lost: int, won: int, both_wrong: int
) -> None:
    assert paired_bounds(counts(both_right, lost, won, both_wrong)) == paired_bounds(
        counts(both_right + both_wrong, lost, won, 0)
    )


@settings(deadline=None)
@given(small, small, small, small)
def test_one_more_lost_question_never_raises_the_bounds(
    both_right: int, lost: int, won: int, both_wrong: int
) -> None:
    assume(both_right > 0)
    before = paired_bounds(counts(both_right, lost, won, both_wrong))
    after = paired_bounds(counts(both_right - 1, lost + 1, won, both_wrong))
    assert after[0] <= before[0] + 1e-8
    assert after[1] <= before[1] + 1e-8


@settings(deadline=None)
@given(small, small, small, small, st.integers(2, 50))
def test_the_same_shares_on_more_questions_are_surer(
    both_right: int, lost: int, won: int, both_wrong: int, times: int
) -> None:
    assume(both_right + both_wrong)
    few = counts(both_right, lost, won, both_wrong)
    many = counts(both_right * times, lost * times, won * times, both_wrong * times)
    (low, high), (closer_low, closer_high) = paired_bounds(few), paired_bounds(many)
    assert closer_low > low
    assert closer_high < high


@settings(deadline=None)
@given(st.tuples(small, small, small, small), st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_a_smaller_error_needs_a_wider_interval(table: Table, one: float, other: float) -> None:
    of = counts(*table)
    strict, loose = paired_bounds(of, min(one, other)), paired_bounds(of, max(one, other))
    assert strict[0] <= loose[0] + 1e-8
    assert strict[1] >= loose[1] - 1e-8


def tables(n: int) -> Iterator[tuple[int, int]]:
    return ((lost, won) for lost in range(n + 1) for won in range(n + 1 - lost))


@pytest.mark.parametrize("n", [16, 30])
@pytest.mark.parametrize(("p_lost", "p_won"), [(0.05, 0.05), (0.1, 0.05), (0.2, 0.05), (0.3, 0.3), (0.02, 0.0)])
def test_a_true_drop_at_the_margin_passes_in_about_5_percent_of_all_tables(
    n: int, p_lost: float, p_won: float
) -> None:
    """Sum the exact probability of each table whose lower bound misses the truth: no simulation needed."""
    truth = p_won - p_lost
    missed = 0.0
    for lost, won in tables(n):
        low, _ = paired_bounds(counts(n - lost - won, lost, won, 0))
        if low > truth:
            rest = binom.pmf(won, n - lost, p_won / (1 - p_lost))
            missed += float(binom.pmf(lost, n, p_lost) * rest)
    # Score bounds keep their level on average; single points lie a little above or below it.
    assert missed < 0.075


def test_coverage_by_simulation_at_the_size_of_a_real_run() -> None:
    n, p_lost, p_won, runs = 200, 0.06, 0.03, 2000
    drawn = np.random.default_rng(20).multinomial(n, (p_lost, p_won, 1 - p_lost - p_won), size=runs)
    unique, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
    bounds = np.array([paired_bounds(counts(n - lost - won, lost, won, 0)) for lost, won in unique.tolist()])
    below = times[bounds[:, 0] > p_won - p_lost].sum() / runs
    above = times[bounds[:, 1] < p_won - p_lost].sum() / runs
    assert 0.03 < below < 0.07
    assert 0.03 < above < 0.07


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 0.5),
        (0, 1, 1.0),
        (5, 0, 1 / 32),
        (0, 5, 1.0),
        (3, 1, 5 / 16),
        (2, 2, 11 / 16),
        # Half of the two-sided exact p that is published for Cavo et al. 2012.
        (16, 6, 0.052479 / 2),
    ],
)
def test_mcnemar_by_hand(lost: int, won: int, p: float) -> None:
    assert mcnemar_drop(counts(40, lost, won, 10)) == pytest.approx(p, abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_tail(lost: int, won: int) -> None:
    p = mcnemar_drop(counts(7, lost, won, 3))
    assert isclose(p, float(binom.sf(lost - 1, lost + won, 0.5)), rel_tol=1e-9)
    assert 0 < p <= 1


@settings(deadline=None)
@given(st.tuples(small, small, small, small), st.integers(1, 300), st.floats(0.001, 0.999))
def test_as_many_questions_as_it_says_decide_and_fewer_do_not(table: Table, times: int, margin: float) -> None:
    needed = questions_to_decide(counts(*table), margin)
    assume(needed is not None)
    assert needed is not None
    many = counts(*(count * times for count in table))
    # Bounds that are surer by as much as a standard normal score exceeds with the chance that is promised.
    low, high = paired_bounds(many, float(norm.sf(Z + norm.ppf(DECIDES))))
    # Where it is decided by a hair, rounding may decide otherwise.
    assume(min(abs(low + margin), abs(high + margin)) > 1e-6)
    assert (low > -margin or high < -margin) is (needed <= many.n)


@pytest.mark.parametrize(
    ("table", "margin", "needed"),
    [
        # 8 % discordant, no drop seen, 2 points allowed: the restricted share of lost ones is 0.05218, so the
        # score is 2 / sqrt(100 * (2 * 0.05218 - 0.0204)) = 0.690, and 100 * ((1.6449 + 0.8416) / 0.690)**2 = 1298.
        ((92, 4, 4, 0), 0.02, 1298),
        # No discordant pair: z**2 * (1 - margin) / margin.
        ((10, 0, 0, 10), 0.02, 303),
        ((1, 0, 0, 0), 0.10, 56),
    ],
)
def test_questions_to_decide_by_hand(table: Table, margin: float, needed: int) -> None:
    assert questions_to_decide(counts(*table), margin) == needed


@pytest.mark.parametrize(("of", "margin"), [(counts(90, 10, 0, 0), 0.10), (counts(50, 0, 0, 50), 0.0)])
def test_no_number_decides_where_the_drop_seen_is_the_accepted_one(of: PairedCounts, margin: float) -> None:
    assert questions_to_decide(of, margin) is None
