"""What makes a finished run as a whole unfit to be judged."""

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
    may_differ = MAY_DIFFER | {"base_gpu_id"} if plan.together else MAY_DIFFER
    differing = [
        f"the arms differ in {name}: {baseline.get(name)!r} in the baseline, {seen.server_args.get(name)!r} in {arm}"
        for arm, seen in arms.items()
        for name in sorted((baseline.keys() | seen.server_args.keys()) - may_differ)
        if baseline.get(name) != seen.server_args.get(name)
    ]
    return errors + differing
