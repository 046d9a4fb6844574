"""What a test of the drop would say, before it is made: exact chances of its verdicts."""

from dataclasses import dataclass
from math import ceil, isfinite, sqrt

from scipy.stats import norm

from harness.stats.exact import chance_to_reach, critical_score
from harness.stats.paired import ALPHA, score


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Chances of the three verdicts; they add up to 1.

    Attributes:
        passes: PASS.
        fails: FAIL.
        inconclusive: Neither.
    """

    passes: float
    fails: float
    inconclusive: float


def drop_outcomes(
    n: int,
    discordance: float,
    true_drop: float,
    max_drop: float,
    alpha: float = ALPHA,
    *,
    fail_alpha: float | None = None,
) -> Outcomes:
    """Return the exact chances of the fixed-size test's verdicts (`sequential.decide` with a single look).

    Args:
        n: Questions; 0 decides nothing.
        discordance: True share of questions that are right in one arm only.
        true_drop: True accuracy of the baseline less that of the compressed arm; negative for a gain.
        max_drop: The largest drop that is accepted, at least 0 and below 1.
        alpha: Error of a PASS.
        fail_alpha: Error of a FAIL; None for the same.

    Raises:
        ValueError: The drop is larger than the discordance, or the discordance larger than 1.
    """
    if not abs(true_drop) <= discordance <= 1:
        raise ValueError(
            f"a discordance of {discordance:g} does not allow a drop of {true_drop:g}: it must be between that and 1"
        )
    if n == 0:
        return Outcomes(passes=0.0, fails=0.0, inconclusive=1.0)
    p_lost, p_won = (discordance + true_drop) / 2, (discordance - true_drop) / 2
    pass_z = critical_score(n, max_drop, alpha, "PASS")
    fail_z = critical_score(n, max_drop, alpha if fail_alpha is None else fail_alpha, "FAIL")
    passes = chance_to_reach(n, max_drop, pass_z, "PASS", p_lost=p_lost, p_won=p_won)
    fails = chance_to_reach(n, max_drop, fail_z, "FAIL", p_lost=p_lost, p_won=p_won)
    return Outcomes(passes=passes, fails=fails, inconclusive=max(1.0 - passes - fails, 0.0))


def questions_for_power(
    discordance: float, true_drop: float, max_drop: float, power: float = 0.8, alpha: float = ALPHA
) -> int | None:
    """Return about how many questions decide in this share of runs, in the normal approximation.

    Args:
        discordance: True share of questions that are right in one arm only.
        true_drop: True accuracy of the baseline less that of the compressed arm.
        max_drop: The largest drop that is accepted.
        power: Share of runs that shall decide: PASS for a drop below `max_drop`, FAIL for one above it.
        alpha: Error of either verdict.

    Returns:
        The number; None where the true drop is the accepted one.

    Source: R. Connor, "Sample size for testing differences in proportions for the paired-sample design",
        Biometrics 43 (1987), 207-211, with the variance that the score test has at the margin.
    """
    distance = max_drop - true_drop
    if distance == 0:
        return None
    # The score grows with the root of the questions: this is what one question is worth.
    one = float(score((discordance + true_drop) / 2, (discordance - true_drop) / 2, 1, -max_drop))
    if not isfinite(one):
        return 1
    spread = sqrt(discordance - true_drop**2) / (distance / one)
    return ceil(((float(norm.isf(alpha)) + float(norm.isf(1 - power)) * spread) / one) ** 2)
