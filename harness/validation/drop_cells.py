"""The verdict on the drop: fixed-size and stopped early, on the same simulated answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from harness.judge.outlook import rates
from harness.stats import ALPHA
from harness.stats.paired import score
from harness.stats.planning import Outcomes
from harness.stats.sequential import Design, decide_tables, make_design
from harness.validation.truth import Truth

# Sizes and margins of the suites, and those around them: few questions and a wide margin, many and a narrow one.
SIZES = ((64, 0.10), (128, 0.10), (200, 0.03), (200, 0.05), (1314, 0.03), (1314, 0.05), (3270, 0.02), (4584, 0.01))
ACCURACIES = (0.35, 0.85)
# Beyond what the drop itself turns.
DISCORDANCES = (0.0, 0.02, 0.08, 0.20)
# In margins. At 1 both verdicts are errors.
DROPS = (0.0, 0.5, 1.0, 1.5, 2.0)
NOISES = (0.0, 0.05)


@dataclass(frozen=True, kw_only=True)
class DropCell:
    """What a cell came to.

    Attributes:
        truth: The cell.
        runs: Simulated runs.
        drift: Mean score at the margin on all questions.
        clear: Whether the fixed-size test decides it all but always.
        fixed: Verdicts on all questions.
        early: Verdicts with early stop.
        score_alone: Verdicts on all questions by the score interval, not made exact: for comparison.
        questions: Mean share of the questions that were asked with early stop.
        missed_low: Share of runs with early stop whose lower bound is above the true change.
        missed_high: Share of runs with early stop whose upper bound is below it.
    """

    truth: Truth
    runs: int
    drift: float
    clear: bool
    fixed: Outcomes
    early: Outcomes
    score_alone: Outcomes
    questions: float
    missed_low: float
    missed_high: float


def truths() -> Iterator[Truth]:
    """Return the grid of cells; a drop's own discordance is added to each discordance where it is less."""
    for (n, max_drop), accuracy, discordance, drops, noise in product(SIZES, ACCURACIES, DISCORDANCES, DROPS, NOISES):
        if not noise and accuracy != ACCURACIES[0]:
            # Without noise the accuracy changes nothing.
            continue
        drop = drops * max_drop
        yield Truth(
            n=n,
            max_drop=max_drop,
            accuracy=accuracy,
            discordance=max(discordance, drop),
            true_drop=drop,
            noise=noise,
        )


def simulate(truth: Truth, runs: int, rng: np.random.Generator) -> DropCell:
    """Simulate one cell.

    Args:
        truth: The cell.
        runs: Runs.
        rng: Random numbers.
    """
    early = make_design(truth.n, truth.max_drop)
    fixed = make_design(truth.n, truth.max_drop, looks=(truth.n,))
    lost_share, won_share = truth.table()
    steps = np.diff(early.looks, prepend=0)
    # Shape (looks, runs, 3): lost, won, neither, of the questions between two looks.
    drawn = np.stack(
        [rng.multinomial(step, (lost_share, won_share, 1 - lost_share - won_share), runs) for step in steps]
    )
    lost, won = drawn[:, :, 0].cumsum(axis=0), drawn[:, :, 1].cumsum(axis=0)
    verdict, stopped = stop(early, lost, won)
    at_the_end = decide_tables(fixed, truth.n, lost[-1], won[-1])
    z = score(lost[-1], won[-1], truth.n, -truth.max_drop)
    quantile = float(norm.isf(ALPHA))
    alone = (z >= quantile).astype(np.int64) - (-z >= quantile)
    # A bound lies beyond the truth where the score of the truth lies beyond the bound's quantile.
    looks = np.array(early.looks)[stopped]
    run = np.arange(runs)
    of_truth = score(lost[stopped, run], won[stopped, run], looks, -truth.true_drop)
    return DropCell(
        truth=truth,
        runs=runs,
        drift=truth.drift,
        clear=truth.clear,
        fixed=rates(at_the_end),
        early=rates(verdict),
        score_alone=rates(alone),
        questions=float(looks.mean() / truth.n),
        missed_low=float((of_truth > np.array(early.pass_z)[stopped]).mean()),
        missed_high=float((-of_truth > np.array(early.fail_z)[stopped]).mean()),
    )


def stop(
    design: Design, lost: NDArray[np.int64], won: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each run's verdict and the look at which it stopped, from tables of shape (looks, runs)."""
    verdict = np.zeros(lost.shape[1], np.int64)
    stopped = np.full(lost.shape[1], len(design.looks) - 1)
    going = np.arange(lost.shape[1])
    for look, n in enumerate(design.looks):
        decided = decide_tables(design, n, lost[look, going], won[look, going])
        ended = going[decided != 0]
        verdict[ended] = decided[decided != 0]
        stopped[ended] = look
        going = going[decided == 0]
    return verdict, stopped


def is_error(truth: Truth, verdict: str) -> bool:
    """Say whether a PASS or a FAIL of this cell is a false alarm: at the margin both are."""
    return truth.true_drop >= truth.max_drop if verdict == "PASS" else truth.true_drop <= truth.max_drop
