"""Early stop: the test of the drop, taken at several looks with the error of a single one.

The questions must come in an order that has nothing to do with their answers: the same fixed or shuffled order
in both arms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from harness.stats.exact import LARGEST, Side, chance_to_reach, critical_score
from harness.stats.paired import ALPHA, PairedCounts, score, score_bounds
from harness.stats.spending import boundaries, hwang_shih_decani

# Where to look, as shares of the questions: close together early, where a clear case is decided. Later looks would
# save little and cost power at the end.
FRACTIONS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 1 / 3, 1 / 2, 1.0)
# How early the error is spent, tried from the earliest on, until the last look costs no more power than
# ACCEPTED_LOSS against the fixed-size test. With few discordant pairs scores lie far apart, so that a slightly
# higher quantile at the end can rule out a common table: 22 points of power in the worst case seen at -4.
GAMMAS = (-4.0, -5.0, -6.0, -8.0, -12.0)
ACCEPTED_LOSS = 0.015
# A look costs a pause of both arms; on fewer questions next to nothing can be decided.
FEWEST = 16
_SIDES: dict[int, Side | None] = {1: "PASS", -1: "FAIL", 0: None}


@dataclass(frozen=True, kw_only=True)
class Design:
    """When to look, and what decides there. Made by `make_design`.

    Attributes:
        looks: Number of questions at each look, rising; the last is all of them.
        max_drop: The margin, at which the scores are taken.
        pass_z: At each look the score from which on the drop is sure to be smaller than the margin.
        fail_z: At each look the score from whose negative on it is sure to be larger.
        alpha: Error of a PASS over all looks.
        fail_alpha: Error of a FAIL over all looks.
    """

    looks: tuple[int, ...]
    max_drop: float
    pass_z: tuple[float, ...]
    fail_z: tuple[float, ...]
    alpha: float
    fail_alpha: float

    def look(self, n: int) -> int:
        """Return which look it is that has n questions.

        Raises:
            ValueError: None has.
        """
        if n not in self.looks:
            raise ValueError(f"{n} questions are none of this design's looks: {', '.join(map(str, self.looks))}")
        return self.looks.index(n)


def make_design(
    questions: int,
    max_drop: float,
    *,
    alpha: float = ALPHA,
    fail_alpha: float = ALPHA,
    looks: Sequence[int] | None = None,
) -> Design:
    """Return the design for a number of questions and a margin.

    With `looks=(questions,)` it is the fixed-size test. At every look the quantiles are raised where few
    discordant pairs would otherwise make the test err too often (`exact`).

    Args:
        questions: All questions, at least 1.
        max_drop: The largest drop that is accepted, at least 0 and at most 1.
        alpha: Error of a PASS over all looks.
        fail_alpha: Error of a FAIL over all looks: the gate's part of the run's budget, since any FAIL fails the run.
        looks: Numbers of questions, rising, the last one `questions`; None for `default_looks`.

    Raises:
        ValueError: The looks do not rise to `questions`, or there are none.
    """
    chosen = default_looks(questions) if looks is None else tuple(looks)
    rising = all(first < second for first, second in zip((0, *chosen), chosen, strict=False))
    if not chosen or not rising or chosen[-1] != questions:
        raise ValueError(f"looks must rise from 1 or more to {questions}, the number of questions; got {chosen}")
    return Design(
        looks=chosen,
        max_drop=max_drop,
        pass_z=_quantiles(chosen, max_drop, alpha, "PASS"),
        fail_z=_quantiles(chosen, max_drop, fail_alpha, "FAIL"),
        alpha=alpha,
        fail_alpha=fail_alpha,
    )


def default_looks(questions: int) -> tuple[int, ...]:
    """Return `FRACTIONS` of the questions, rounded up, those of fewer than FEWEST left out but the last."""
    looks = sorted({ceil(fraction * questions) for fraction in FRACTIONS})
    return tuple(look for look in looks if look >= min(FEWEST, questions))


def decide(design: Design, counts: PairedCounts) -> Side | None:
    """Decide at one look.

    PASS where the score at the margin reaches the look's quantile, FAIL where its negative does: where the lower
    of `repeated_bounds` is above -max_drop, or the upper one below it.

    Args:
        design: The design.
        counts: The table of the questions asked so far.

    Returns:
        The verdict; None to go on, or at the last look: undecided.

    Raises:
        ValueError: `counts` are not those of a look.
    """
    lost, won = np.array([counts.baseline_only]), np.array([counts.compressed_only])
    return _SIDES[int(decide_tables(design, counts.n, lost, won, counts.design_effect)[0])]


def decide_tables(
    design: Design, n: int, lost: NDArray[np.int64], won: NDArray[np.int64], design_effect: ArrayLike = 1.0
) -> NDArray[np.int64]:
    """Decide many tables of the same look at once, as `decide` does one.

    Args:
        design: The design.
        n: Questions of the look.
        lost: Questions right in the baseline only, one number a table.
        won: Questions right in the compressed arm only.
        design_effect: See `PairedCounts`; one for all, or one a table.

    Returns:
        1 for PASS, -1 for FAIL, 0 for neither; of `lost`'s shape.

    Raises:
        ValueError: n is none of the looks.
    """
    look = design.look(n)
    z = score(lost, won, n, -min(design.max_drop, LARGEST)) / np.sqrt(design_effect)
    return (z >= design.pass_z[look]).astype(np.int64) - (-z >= design.fail_z[look])


def repeated_bounds(design: Design, counts: PairedCounts) -> tuple[float, float]:
    """Return bounds of the difference that hold although one has looked, and may have stopped, before.

    The score interval at the look's quantiles: it encloses the truth at all looks together with the error of
    the design, whatever made one stop. At one look of a fixed-size design it is `paired_bounds`, a little wider
    where the exact quantile is above the normal one.

    Args:
        design: The design.
        counts: The table at a look.

    Returns:
        Lower bound at 1 - alpha, upper bound at 1 - fail_alpha, as shares.

    Raises:
        ValueError: `counts` are not those of a look.

    Source: C. Jennison, B. Turnbull, "Interim analyses: the repeated confidence interval approach", Journal of
        the Royal Statistical Society B 51 (1989), 305-361.
    """
    look = design.look(counts.n)
    return score_bounds(counts, design.pass_z[look], design.fail_z[look])


def floor_decided(right: int, asked: int, total: int, floor: float) -> bool | None:
    """Say whether the rest of the questions can still change whether a floor is reached.

    Args:
        right: Right answers so far.
        asked: Questions so far.
        total: All questions, at least 1.
        floor: Accuracy that must be reached on all of them.

    Returns:
        True: reached even if all others are wrong. False: missed even if all are right. None: open.
    """
    if right / total >= floor:
        return True
    return False if (right + total - asked) / total < floor else None


@lru_cache(maxsize=256)
def _quantiles(looks: tuple[int, ...], max_drop: float, alpha: float, side: Side) -> tuple[float, ...]:
    fixed = critical_score(looks[-1], max_drop, alpha, side)
    fractions = [look / looks[-1] for look in looks]
    for gamma in GAMMAS:
        normal = boundaries(fractions, hwang_shih_decani(alpha, gamma))
        last = critical_score(looks[-1], max_drop, float(norm.sf(normal[-1])), side)
        if _loss(looks[-1], max_drop, fixed, last, side) <= ACCEPTED_LOSS:
            break
    earlier = [
        critical_score(look, max_drop, float(norm.sf(z)), side) for look, z in zip(looks, normal[:-1], strict=False)
    ]
    return (*earlier, last)


def _loss(n: int, max_drop: float, fixed: float, last: float, side: Side) -> float:
    """Return the most power that a higher score at the end costs, over some truths of each kind."""
    drops = (0.0, max_drop / 2) if side == "PASS" else (1.5 * max_drop, 2 * max_drop)
    truths = [
        ((discordance + drop) / 2, (discordance - drop) / 2)
        for drop in drops
        for discordance in (max(drop, beside) for beside in (drop, 0.04, 0.08, 0.2))
        if discordance <= 1
    ]

    def reached(z: float, p_lost: float, p_won: float) -> float:
        return chance_to_reach(n, max_drop, z, side, p_lost=p_lost, p_won=p_won)

    return max((reached(fixed, *truth) - reached(last, *truth) for truth in truths), default=0.0)
