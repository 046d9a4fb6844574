"""The memory's CUSUM on simulated nights: how often it cries wolf, how soon it sees 2 points at 1,314 questions."""

from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray

from harness.stats.cusum import Cusum, Night
from harness.validation.other_cells import OtherCell

QUESTIONS = 1314
# 2 points of them.
LOST = 26
ACCURACY = 0.8
# Shares of questions that two nights of one state answer differently.
NOISES = (0.005, 0.02, 0.04, 0.08, 0.2)
UNSTEADY = (0.1, 0.5, 0.9)
# Of these, none is more often wrong than right: lost answers are rare and weigh much.
SKEWED = (0.9,)
# Shares of questions that a change of software turns, once and for all, half of them each way.
TURNED = (0.01, 0.04, 0.08)
GOOD_NIGHTS = 20
# A median within so many nights is asked for.
SOON = 5
GIVEN_UP = 60
CRIES, SEES, REPEATS, SEES_REPEATED = (
    "nights: a false alarm, in % of nights",
    f"nights: 2 points found within {SOON} nights",
    "nights alike but for one harmless change: a false alarm",
    "nights alike but for one change that costs 2 points: found",
)


def simulate_nights(nights: int, runs: int, rng: np.random.Generator) -> Iterator[OtherCell]:
    """Simulate all cells.

    Args:
        nights: Nights of each cell without harm.
        runs: Runs of each other cell.
        rng: Random numbers.
    """
    for noise in NOISES:
        yield _cries(noise, nights, rng)
    yield _cries(0.04, nights, rng, SKEWED)
    for noise in NOISES:
        yield _sees(noise, runs, rng)
    for turned in TURNED:
        yield _repeated(turned, 0, runs, rng)
    for turned in TURNED:
        yield _repeated(turned, LOST, runs, rng)


def chances(noise: float, rng: np.random.Generator, unsteady: tuple[float, ...] = UNSTEADY) -> NDArray[np.float64]:
    """Return each question's chance to be right.

    Args:
        noise: The share of questions in which two nights differ.
        rng: Random numbers.
        unsteady: The chances that those questions have whose answers are not always the same.
    """
    found = (rng.random(QUESTIONS) < ACCURACY).astype(np.float64)
    differ = float(np.mean([2 * chance * (1 - chance) for chance in unsteady]))
    chosen = rng.random(QUESTIONS) < noise / differ
    found[chosen] = rng.choice(unsteady, int(chosen.sum()))
    return found


def _answers(right: NDArray[np.float64], rng: np.random.Generator) -> Night:
    return Night(values=(rng.random(QUESTIONS) < right).astype(np.float64))


def _harmed(right: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return chances of which those of LOST questions that were always right are 0."""
    found = right.copy()
    found[rng.choice(np.flatnonzero(right == 1), LOST, replace=False)] = 0.0
    return found


def _cries(noise: float, nights: int, rng: np.random.Generator, unsteady: tuple[float, ...] = UNSTEADY) -> OtherCell:
    alarms, cusum, right = 0, Cusum(), chances(noise, rng, unsteady)
    for _ in range(nights):
        if cusum.add(_answers(right, rng)).alarm:
            alarms += 1
            cusum, right = Cusum(), chances(noise, rng, unsteady)
    return OtherCell(
        kind=CRIES,
        what=f"two nights differ in {noise:.1%} of the questions"
        + (f", these are right in {unsteady[0]:.0%} of nights" if len(unsteady) == 1 else ""),
        runs=nights,
        passes=1 - alarms / nights,
        fails=alarms / nights,
        inconclusive=0.0,
        false_fail=True,
    )


def _sees(noise: float, runs: int, rng: np.random.Generator) -> OtherCell:
    delays = []
    for _ in range(runs):
        cusum, right = Cusum(), chances(noise, rng)
        for _ in range(GOOD_NIGHTS):
            if cusum.add(_answers(right, rng)).alarm:
                cusum = Cusum()
        worse = _harmed(right, rng)
        nights = range(1, GIVEN_UP)
        delays.append(next((night for night in nights if cusum.add(_answers(worse, rng)).alarm), GIVEN_UP))
    soon = float(np.mean([delay <= SOON for delay in delays]))
    said = f"median {median(delays):g}, mean {np.mean(delays):.1f}"
    what = f"two nights differ in {noise:.1%} of the questions: {said}"
    return OtherCell(kind=SEES, what=what, runs=runs, passes=0.0, fails=soon, inconclusive=1 - soon)


def _repeated(turned: float, lost: int, runs: int, rng: np.random.Generator) -> OtherCell:
    """Simulate a deterministic machine: each night is the one before, but for one change that turns some answers."""
    alarms = 0
    for _ in range(runs):
        before = (rng.random(QUESTIONS) < ACCURACY).astype(np.float64)
        after = before.copy()
        turns = round(turned * QUESTIONS)
        to_wrong = int(rng.binomial(turns, 0.5))
        after[rng.choice(np.flatnonzero(before == 1), to_wrong, replace=False)] = 0.0
        after[rng.choice(np.flatnonzero(before == 0), turns - to_wrong, replace=False)] = 1.0
        if lost:
            after[rng.choice(np.flatnonzero((before == 1) & (after == 1)), lost, replace=False)] = 0.0
        cusum = Cusum()
        steps = [cusum.add(Night(values=before)) for _ in range(GOOD_NIGHTS)]
        steps += [cusum.add(Night(values=after)) for _ in range(GIVEN_UP)]
        alarms += any(step.alarm for step in steps)
    return OtherCell(
        kind=SEES_REPEATED if lost else REPEATS,
        what=f"{turned:.0%} of the questions turn by it, the same ones every night after; {GIVEN_UP} nights",
        runs=runs,
        passes=0.0 if lost else 1 - alarms / runs,
        fails=alarms / runs,
        inconclusive=1 - alarms / runs if lost else 0.0,
        false_fail=not lost,
    )
