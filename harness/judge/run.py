"""What makes a finished run as a whole unfit to be judged, and what it does not show."""

from collections.abc import Sequence
from typing import Any

from harness.judge.engagement import NOT_PROVEN
from harness.judge.live_check import NOT_CHECKED, NOT_RIGHT
from harness.judge.results import ArmReport
from harness.judge.traffic import alone_concern, differing_traffic, traffic_faults
from harness.plan.plan import BASELINE, COMPRESSED, Plan
from harness.records.run import FINISHED, ArmRecord, RunRecord

# Arguments in which the arms may differ: the flag under test, and what is chosen anew at each start.
MAY_DIFFER = frozenset({"enable_quant_communications", "port", "api_key", "random_seed", "nccl_port"})


def run_errors(
    plan: Plan, arms: dict[str, ArmReport], records: dict[str, ArmRecord | None], ended_by: Sequence[str]
) -> list[str]:
    """Find what makes a run unfit to be judged, what came first and caused the rest first.

    A sum that is proven to be wrong is wrong whatever became of the servers after it, and is no dead server. All
    else is asked of a finished run alone: no proof, other traffic than the answers', arms that differ in more than
    the flag.

    Args:
        plan: What was to run.
        arms: What is known of each arm.
        records: How each arm ran; None for one that left no record.
        ended_by: What ended the run early; empty for a finished one.
    """
    if any(NOT_RIGHT in error for error in ended_by):
        return list(ended_by)
    wrong = [
        f"{NOT_RIGHT}: {name} arm: {text}"
        for name, arm in arms.items()
        if arm.live_check is not None
        for text in arm.live_check.wrong
    ]
    return [*wrong, *(ended_by or arm_errors(plan, arms, records))]


def arm_errors(plan: Plan, arms: dict[str, ArmReport], records: dict[str, ArmRecord | None]) -> list[str]:
    """Find what a finished run lacks; arguments as for `run_errors`."""
    gone = [
        f"{name} arm: it left no record (arm.json), so that nobody knows what its server was"
        for name, record in records.items()
        if record is None
    ]
    unproven = [f"{NOT_PROVEN}: {name} arm: {fault}" for name, arm in arms.items() for fault in arm.engagement.faults]
    unchecked = [
        f"{NOT_CHECKED}: {name} arm: {fault}"
        for name, arm in arms.items()
        if arm.live_check is not None
        for fault in arm.live_check.faults
    ]
    # Of an arm whose logs are no proof, or that left no record, the traffic says no more.
    traffic = [
        f"{NOT_PROVEN}: {name} arm: {fault}"
        for name, arm in arms.items()
        if records[name] is not None and not arm.engagement.faults
        for fault in traffic_faults(arm)
    ]
    asked = {
        name: {task: done.questions for task, done in record.tasks.items()} if record else {}
        for name, record in records.items()
    }
    differing = differing_traffic(arms, asked)
    baseline = arms[BASELINE].server_args
    differing += [
        f"the arms differ in {name}: {baseline.get(name)!r} in the baseline, {seen.server_args.get(name)!r} in {arm}"
        for arm, seen in arms.items()
        if records[arm] is not None and records[BASELINE] is not None
        for name in differing_settings(baseline, seen.server_args)
        if not (plan.together and name == "base_gpu_id")
    ]
    return [*gone, *unproven, *unchecked, *traffic, *differing]


def goes_on(run: RunRecord) -> bool:
    """Return whether a run that is asked to go on may come further: not where what it found would be found again."""
    found = (NOT_RIGHT, NOT_CHECKED, NOT_PROVEN)
    return run.state != FINISHED and not any(what in error for error in run.ended_by for what in found)


def differing_settings(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the settings, as two servers told them, that differ and should not."""
    return [name for name in sorted((one.keys() | other.keys()) - MAY_DIFFER) if one.get(name) != other.get(name)]


def run_concerns(plan: Plan, arms: dict[str, ArmReport]) -> list[str]:
    """Return the WARNINGs of the run as a whole: what was not checked, and what a check found that is no fault."""
    found = [
        f"{name} arm: {text}"
        for name, arm in arms.items()
        if arm.live_check is not None
        for text in arm.live_check.warnings
    ]
    if COMPRESSED in arms and plan.arm(COMPRESSED).check_every == 0:
        found.append(
            "no compressed sum was checked: the live check was off (--no-live-check, or the suite's "
            "compression.live_check.every: 0), so that nobody would notice a collective that sums wrongly, or plainly"
        )
    if (concern := alone_concern(arms)) is not None:
        found.append(concern)
    on_hub = "/" in plan.model_path and not plan.model_path.startswith("/")
    if on_hub and "--revision" not in plan.arms[0].argv:
        found.append(
            f"{plan.model_path} is a hub's name without a commit, which may stand for other weights tomorrow: give "
            "the suite `model.revision`"
        )
    return found
