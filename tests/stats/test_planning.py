import numpy as np
import pytest

from harness.stats.paired import PairedCounts
from harness.stats.planning import Outcomes, drop_outcomes
from harness.stats.sequential import decide, make_design


@pytest.mark.parametrize(
    ("n", "discordance", "drop", "margin"), [(64, 0.1, 0.0, 0.1), (200, 0.08, 0.06, 0.03), (128, 0.15, 0.02, 0.05)]
)
def test_as_simulated(n: int, discordance: float, drop: float, margin: float) -> None:
    runs, design = 4000, make_design(n, margin, looks=(n,))
    shares = ((discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance)
    drawn = np.random.default_rng(7).multinomial(n, shares, size=runs)
    unique, times = np.unique(drawn, axis=0, return_counts=True)
    verdicts = [
        decide(design, PairedCounts(both_right=rest, baseline_only=lost, compressed_only=won, both_wrong=0))
        for lost, won, rest in unique.tolist()
    ]
    seen = [
        sum(count for found, count in zip(verdicts, times.tolist(), strict=True) if found == verdict) / runs
        for verdict in ("PASS", "FAIL", None)
    ]
    expected = drop_outcomes(n, discordance, drop, margin)
    assert seen == pytest.approx([expected.passes, expected.fails, expected.inconclusive], abs=0.035)


@pytest.mark.parametrize("n", [16, 64, 200, 1319, 3270])
@pytest.mark.parametrize("discordance", [0.03, 0.08, 0.3])
def test_at_the_margin_either_verdict_is_an_error_in_5_percent_at_most(n: int, discordance: float) -> None:
    of = drop_outcomes(n, discordance, 0.02, 0.02)
    assert of.passes <= 0.05
    assert of.fails <= 0.05
    assert of.passes + of.fails + of.inconclusive == pytest.approx(1)


def test_power_grows_with_questions_and_shrinks_with_discordance() -> None:
    powers = [drop_outcomes(n, 0.08, 0.0, 0.02).passes for n in (200, 1319, 3270)]
    assert powers == sorted(powers)
    assert drop_outcomes(1319, 0.16, 0.0, 0.02).passes < powers[1]


def test_no_question_decides_nothing_and_identical_arms_pass_when_there_are_enough() -> None:
    assert drop_outcomes(0, 0.1, 0.0, 0.02) == Outcomes(passes=0.0, fails=0.0, inconclusive=1.0)
    assert drop_outcomes(1, 0.0, 0.0, 0.02) == Outcomes(passes=0.0, fails=0.0, inconclusive=1.0)
    assert drop_outcomes(200, 0.0, 0.0, 0.02) == Outcomes(passes=1.0, fails=0.0, inconclusive=0.0)
    assert drop_outcomes(200, 1.0, 1.0, 0.02).fails == pytest.approx(1)


def test_a_drop_beyond_the_discordance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a discordance of 0.02 does not allow a drop of 0.03"):
        drop_outcomes(100, 0.02, 0.03, 0.02)
