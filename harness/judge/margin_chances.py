"""What a margin takes and what it misses: chances of PASS and FAIL, by the questions and what compression turns."""

from collections.abc import Sequence
from functools import lru_cache

from scipy.stats import norm

from harness.config.thresholds import Threshold
from harness.stats.planning import drop_outcomes
from harness.strict import Strict

# Shares of questions that turn from right to wrong or back under compression that costs no accuracy: 2 to 4 % is what
# 8-bit codes come to, 8 % what published comparisons of quantized models show. What the baseline turns by itself is
# added to them.
DISCORDANCES = (0.02, 0.04, 0.08)
ASSUMED_DISCORDANCE = 0.04
# Margins that are looked at beside the row's own.
MARGINS = (0.01, 0.02, 0.03, 0.05)
DECIDES = 0.95
MOST_QUESTIONS = 50_000
STEPS = 7


class MarginChances(Strict):
    """What one margin takes, and what it misses.

    Attributes:
        max_drop: The margin.
        own: Whether it is the row's.
        discordance: Share of questions that compression turns, half of them each way, beside what turns by itself.
        passes: Chance that harmless compression PASSes, with the run's questions.
        fails: Chance that it FAILs: the false-alarm rate.
        questions: Of the row's own margin: with how many it PASSes in DECIDES of runs; None for more than
            MOST_QUESTIONS.
        missed: The largest true drop that still PASSes in every second run; None where not even no drop does.
    """

    max_drop: float
    own: bool
    discordance: float
    passes: float
    fails: float
    questions: int | None
    missed: float | None


def margin_chances(row: Threshold, n: int, noise: float) -> list[MarginChances]:
    """Return what the row's own margin and the usual ones take and miss.

    Args:
        row: The task's thresholds.
        n: Questions.
        noise: Share of questions that the baseline turns by itself, 0 to 1.
    """
    found = []
    own = [] if row.max_drop is None else [row.max_drop]
    for max_drop in sorted({*own, *MARGINS}):
        for assumed in DISCORDANCES:
            discordance = round(assumed + noise, 6)
            chances = drop_outcomes(n, discordance, 0.0, max_drop)
            found.append(
                MarginChances(
                    max_drop=max_drop,
                    own=max_drop == row.max_drop,
                    discordance=discordance,
                    passes=min(chances.passes, 1.0),
                    fails=chances.fails,
                    questions=questions_for(max_drop, discordance) if max_drop in own else None,
                    missed=missed_by(n, max_drop, discordance),
                )
            )
    return found


@lru_cache
def questions_for(max_drop: float, discordance: float, chance: float = DECIDES) -> int | None:
    """Return with how many questions harmless compression PASSes with a chance; None for more than MOST_QUESTIONS.

    Args:
        max_drop: The margin, above 0.
        discordance: Share of questions that turn, half of them each way.
        chance: The chance, exact; the number is rounded up by 2 % at most.
    """
    if max_drop <= 0:
        return None
    # The normal approximation's number, which is a little too small.
    n = max(1.0, (float(norm.isf(0.05)) + float(norm.isf(1 - chance))) ** 2 * discordance / max_drop**2)
    while n <= MOST_QUESTIONS:
        if drop_outcomes(round(n), discordance, 0.0, max_drop).passes >= chance:
            return round(n)
        n = max(n * 1.02, n + 1)
    return None


@lru_cache
def missed_by(n: int, max_drop: float, discordance: float) -> float | None:
    """Return the largest true drop that still PASSes in every second run, to a hundredth of the margin.

    Args:
        n: Questions.
        max_drop: The margin.
        discordance: Share of questions that turn; where the drop is more, as many as that.

    Returns:
        The drop; None where not even no drop passes in every second run.
    """

    def passes(drop: float) -> bool:
        return drop_outcomes(n, max(discordance, drop), drop, max_drop).passes >= 0.5  # noqa: PLR2004 - every second

    if not passes(0.0):
        return None
    low, high = 0.0, max_drop
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def margin_reasons(row: Threshold, n: int, margins: Sequence[MarginChances]) -> list[str]:
    """Say what the row's own margin takes and misses; it is the owner's, and no other is proposed."""
    if row.max_drop is None:
        return []
    own = [chances for chances in margins if chances.own]
    takes = ", ".join(f"{_count(chances.questions)} where {chances.discordance:.1%} of them turn" for chances in own)
    usual = own[DISCORDANCES.index(ASSUMED_DISCORDANCE)]
    missed = "nothing" if usual.missed is None else f"a true drop of {usual.missed * 100:.1f} points"
    return [
        f"max_drop stays {row.max_drop:g}, which is the owner's: harmless compression PASSes in {DECIDES:.0%} of "
        f"runs with {takes}; with these {n} it does in "
        + ", ".join(f"{chances.passes:.0%}" for chances in own)
        + f", and {missed} PASSes in every second"
    ]


def _count(questions: int | None) -> str:
    return f"more than {MOST_QUESTIONS} questions" if questions is None else f"{questions} questions"
