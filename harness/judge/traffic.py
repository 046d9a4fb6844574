"""Ties the proof to the traffic: the ranks' logs must hold the prefills of the judged answers, and no others.

A log may be whole in itself and yet not be that of the answers: cut short between two passes, of a server that others
asked too, or of one that died and whose port a stranger took.
"""

from collections.abc import Mapping

from harness.judge.results import ArmReport
from harness.plan.plan import BASELINE

# The arms may find another share of the same prompts in their caches, since generated texts lie there too.
CACHED_MAY_DIFFER = 0.05


def traffic_faults(arm: ArmReport) -> list[str]:
    """Return where an arm's ranks prefilled other tokens than its answers took.

    Each rank's prefill tokens must be the answers' prompt tokens less the cached ones, and those that the server
    prefilled on its own account before it was asked; prompts without an answer may have been prefilled or not.

    Args:
        arm: A finished arm.
    """
    traffic, own = arm.traffic, arm.own_prefill
    if traffic is None or own is None:
        return ["what its server was asked was not recorded, so that its ranks' logs prove nothing"]
    faults = [f"its ranks logged {-own} tokens less than the known answer took"] if own < 0 else []
    certain = own + traffic.prompt - traffic.cached
    for rank in arm.engagement.ranks:
        if certain <= rank.prefill_tokens <= certain + traffic.uncertain:
            continue
        more = f" to {certain + traffic.uncertain}" if traffic.uncertain else ""
        why = (
            "its log was cut, or another server answered"
            if rank.prefill_tokens < certain
            else "somebody else asked that server too, or its log is not this run's"
        )
        faults.append(
            f"rank {rank.rank} logged prefills of {rank.prefill_tokens} tokens; the {traffic.answers} answers and "
            f"the server's own start took {certain}{more}: {why}"
        )
    return faults


def differing_traffic(arms: Mapping[str, ArmReport], asked: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return where arms that were asked the same took other prompts, or prefilled much more of them.

    Args:
        arms: The arms by name; one of them is the baseline.
        asked: How many questions each arm was asked, by arm and task.
    """
    first = arms[BASELINE].traffic
    faults: list[str] = []
    for name, arm in arms.items():
        here = arm.traffic
        if here is None or first is None or here.uncertain or first.uncertain or asked[name] != asked[BASELINE]:
            continue
        if here.prompt != first.prompt:
            faults.append(
                f"the arms answered prompts of {first.prompt} tokens in the baseline and {here.prompt} in {name}"
            )
        elif abs(here.cached - first.cached) > CACHED_MAY_DIFFER * first.prompt:
            faults.append(
                f"of {first.prompt} tokens of prompts the baseline took {first.cached} from its cache and {name} "
                f"{here.cached}: what is in a cache was not compressed this time"
            )
    return faults


def alone_concern(arms: Mapping[str, ArmReport]) -> str | None:
    """Return what is to be said where not all arms asked as many prompts one by one, or None."""
    counts = {name: arm.traffic.alone for name, arm in arms.items() if arm.traffic is not None}
    if len(set(counts.values())) <= 1:
        return None
    told = ", ".join(f"{count} in {name}" for name, count in counts.items())
    return (
        f"prompts were asked one by one, since the server refused the request in which they were together: {told}; "
        "what is batched in another way may differ in its last bits by that alone"
    )


def traffic_line(arm: ArmReport) -> str:
    """Return in a line what was prefilled, and for what."""
    traffic = arm.traffic
    if traffic is None or arm.own_prefill is None or not arm.engagement.ranks:
        return "prefills: not known"
    alone = f"; {traffic.alone} asked one by one after their request was refused" if traffic.alone else ""
    return (
        f"prefills: {arm.engagement.ranks[0].prefill_tokens} tokens in the ranks' logs; {traffic.answers} prompts of "
        f"{traffic.prompt} tokens, {traffic.cached} of them cached, and {arm.own_prefill} of the server's own "
        f"start{alone}"
    )
