"""What a plan's drops would be judged as, before anything runs: chances of the verdicts for assumed truths."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.error_budget import POOLED, POOLED_GATE, fail_levels
from harness.plan.plan import Plan
from harness.stats.planning import Outcomes
from harness.stats.proportion import false_alarm_of_floor
from harness.stats.sequential import Design, decide_tables, make_design

# Shares of questions that compression turns, and what it costs beside. 8 % is what published comparisons of quantized
# models show, 2 to 4 % what 8-bit codes come to.
DISCORDANCES = (0.02, 0.04, 0.08)
DROPS = (0.0, 0.01, 0.02, 0.03)
# True accuracies above a floor at which a harmless model is looked at.
ABOVE_FLOOR = (0.01, 0.02, 0.03, 0.05)
RUNS = 20_000
WHOLE_RUN = "the run"


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What one assumed truth, the same in all tasks, would come to.

    Attributes:
        discordance: Share of questions that are right in one arm only; at least the drop.
        drop: Accuracy that compression costs.
        outcomes: Chances of the verdicts by task, of `pooled`, and of `the run` as far as drops decide it.
    """

    discordance: float
    drop: float
    outcomes: Mapping[str, Outcomes]


def outlooks(plan: Plan, *, runs: int = RUNS, seed: int = 0) -> list[Outlook]:
    """Simulate a plan's drops for every assumed truth, each task asked to its end and its baseline fit to judge.

    Args:
        plan: The plan.
        runs: Simulated runs of each truth: with 20,000 a chance is right to 0.7 points (two standard deviations).
        seed: Of the random numbers.

    Returns:
        One a truth; empty where no task is judged by a drop.
    """
    designs = plan_designs(plan)
    rng = np.random.default_rng(seed)
    return [
        Outlook(
            discordance=max(discordance, drop),
            drop=drop,
            outcomes=simulate_run(designs, max(discordance, drop), drop, runs=runs, rng=rng),
        )
        for drop in DROPS
        for discordance in DISCORDANCES
        if designs
    ]


def plan_designs(plan: Plan) -> dict[str, Design]:
    """Return the test of each judged task's drop on all its questions, and that of all pooled, by name."""
    budget = fail_levels(plan)
    tasks = {name: task for name, task in plan.tasks.items() if task.threshold.max_drop is not None}
    designs = {
        name: _at_the_end(task.questions, task.threshold.max_drop or 0.0, budget[f"{name}.max_drop"])
        for name, task in tasks.items()
    }
    if plan.pooled is not None:
        questions = sum(task.questions for task in tasks.values())
        designs[POOLED] = _at_the_end(questions, plan.pooled.max_drop, budget[POOLED_GATE])
    return designs


def simulate_run(
    designs: Mapping[str, Design], discordance: float, drop: float, *, runs: int, rng: np.random.Generator
) -> dict[str, Outcomes]:
    """Draw answers of every task with one truth and judge them as a run does.

    Args:
        designs: Those of `plan_designs`.
        discordance: True share of questions that are right in one arm only, at least the drop.
        drop: True drop.
        runs: How many runs.
        rng: Random numbers.
    """
    shares = (discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance
    lost_in_all, won_in_all = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    verdicts: dict[str, NDArray[np.int64]] = {}
    for name, design in designs.items():
        n = design.looks[-1]
        if name == POOLED:
            verdicts[name] = decide_tables(design, n, lost_in_all, won_in_all)
            continue
        lost, won, _ = rng.multinomial(n, shares, runs).T
        lost_in_all, won_in_all = lost_in_all + lost, won_in_all + won
        verdicts[name] = decide_tables(design, n, lost, won)
    of_all = np.stack(list(verdicts.values()))
    verdicts[WHOLE_RUN] = np.where((of_all < 0).any(axis=0), -1, (of_all > 0).all(axis=0).astype(np.int64))
    return {name: rates(found) for name, found in verdicts.items()}


def rates(verdicts: NDArray[np.int64]) -> Outcomes:
    """Return the shares of 1 (PASS), -1 (FAIL) and 0."""
    return Outcomes(
        passes=float((verdicts == 1).mean()),
        fails=float((verdicts == -1).mean()),
        inconclusive=float((verdicts == 0).mean()),
    )


def missed_floors(plan: Plan) -> dict[str, dict[float, float]]:
    """Return how often a harmless model misses a floor by the number itself, by task and by its true accuracy."""
    found: dict[str, dict[float, float]] = {}
    for name, task in plan.tasks.items():
        floor = task.threshold.floor
        if floor is None or task.threshold.floor_rule == "confident":
            continue
        n = min(task.threshold.floor_questions or task.questions, task.questions)
        accuracies = [round(floor + above, 6) for above in ABOVE_FLOOR if floor + above < 1]
        found[name] = {accuracy: false_alarm_of_floor(n, accuracy, floor) for accuracy in accuracies}
    return found


def _at_the_end(questions: int, max_drop: float, fail_alpha: float) -> Design:
    return make_design(questions, max_drop, fail_alpha=fail_alpha, looks=(questions,))
