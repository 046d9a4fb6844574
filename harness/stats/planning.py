"""What a test of the drop would say, before it is made: exact chances of its verdicts."""

from dataclasses import dataclass

from harness.stats.exact import chance_to_reach, critical_score
from harness.stats.paired import ALPHA


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
