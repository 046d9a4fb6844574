"""One error budget for all gates of a run: how much of FAIL's 5 % each of them may use up.

A run passes only if every gate does, so that a false PASS needs all of them to err: each PASS is tested at 5 % by
itself and the run still errs in 5 % at most (intersection-union test). One FAIL fails the run, so the gates share
5 %, in parts that are fixed by the plan and add up to it (Bonferroni, weighted): whatever depends on what, a run of
which nothing is worse than accepted FAILs in 5 % of nights at most.

Holm's way would find no run more: it differs from Bonferroni only once a first gate has failed, which fails the run
already. And its bounds are not those that decide.

A rule that states no error takes no part: a floor by the point rule is the number itself, and the worst text is what
both arms read.

Sources: R. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982), 295-300
    (intersection-union); R. Rosenthal, D. Rubin, Psychological Bulletin 94 (1983), 540-541 (weighted Bonferroni).
"""

from collections.abc import Sequence

from harness.plan.plan import Plan
from harness.records.predictions import FIDELITY
from harness.stats import ALPHA

POOLED = "pooled"
POOLED_GATE = f"{POOLED}.max_drop"
# What the pooled test has of the budget where there is one: it alone sees a drop of two points spread over all tasks.
POOLED_SHARE = 0.5
TASK_GATES = ("max_drop", "floor", "max_flips", "max_truncated")
FIDELITY_GATES = ("max_mean_kl", "min_same_top", "max_loglikelihood_drop")


def fail_levels(plan: Plan) -> dict[str, float]:
    """Return the error that each gate's FAIL may have, by `TASK.KEY`, `pooled.max_drop` and `fidelity.KEY`.

    Args:
        plan: The run's plan; what it finds out changes nothing.

    Returns:
        Levels between 0 and 1 that add up to ALPHA; empty where nothing is judged.
    """
    return share_out(gates(plan))


def gates(plan: Plan) -> list[str]:
    """Return the gates of a plan that test something, in the order they are judged."""
    names = [
        f"{task}.{key}"
        for task, row in plan.tasks.items()
        for key in TASK_GATES
        if getattr(row.threshold, key) is not None and not (key == "floor" and row.threshold.floor_rule == "point")
    ]
    if plan.pooled is not None:
        names.append(POOLED_GATE)
    if plan.fidelity is not None and plan.fidelity.threshold is not None:
        # A key of a later version of the thresholds is no gate of this plan.
        row = plan.fidelity.threshold
        names += [f"{FIDELITY}.{key}" for key in FIDELITY_GATES if getattr(row, key, None) is not None]
    return names


def share_out(names: Sequence[str]) -> dict[str, float]:
    """Return each gate's part of the budget: the pooled test's own, and what is left in equal parts."""
    others = [name for name in names if name != POOLED_GATE]
    if len(others) == len(names):
        return {name: ALPHA / len(names) for name in names}
    if not others:
        return {POOLED_GATE: ALPHA}
    return {POOLED_GATE: ALPHA * POOLED_SHARE} | {name: ALPHA * (1 - POOLED_SHARE) / len(others) for name in others}
