"""What makes a finished run as a whole unfit to be judged."""

from typing import Any

from harness.judge.engagement import NOT_PROVEN
from harness.judge.live_check import NOT_RIGHT
from harness.judge.results import ArmReport
from harness.plan.plan import BASELINE, Plan

# Arguments in which the arms may differ: the flag under test, and what is chosen anew at each start.
MAY_DIFFER = frozenset({"enable_quant_communications", "port", "api_key", "random_seed", "nccl_port"})


def arm_errors(plan: Plan, arms: dict[str, ArmReport]) -> list[str]:
    """Find what makes a finished run unfit to be judged: no proof, or arms that differ in more than the flag."""
    errors = [f"{NOT_PROVEN}: {name} arm: {fault}" for name, arm in arms.items() for fault in arm.engagement.faults]
    errors += [
        f"{NOT_RIGHT}: {name} arm: {fault}"
        for name, arm in arms.items()
        if arm.live_check is not None
        for fault in arm.live_check.faults
    ]
    baseline = arms[BASELINE].server_args
    differing = [
        f"the arms differ in {name}: {baseline.get(name)!r} in the baseline, {seen.server_args.get(name)!r} in {arm}"
        for arm, seen in arms.items()
        for name in differing_settings(baseline, seen.server_args)
        if not (plan.together and name == "base_gpu_id")
    ]
    return errors + differing


def differing_settings(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the settings, as two servers told them, that differ and should not."""
    return [name for name in sorted((one.keys() | other.keys()) - MAY_DIFFER) if one.get(name) != other.get(name)]
