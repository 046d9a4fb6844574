"""Proof that compression ran, where it should and nowhere else, from the logs that each rank's plugin wrote."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.judge.rank_log import NEVER_COMPRESSED, OF_DRAFTS, RankLog, is_prefill, read_rank
from harness.plan.flag_coverage import explain, model_class
from harness.plan.plan import Arm, Plan
from harness.sglang_plugin.policy import PLAIN, SITES, Policy
from harness.strict import Strict

SHOWN_FAULTS = 3
NOT_PROVEN = "compression is not proven"


class SiteCounts(Strict):
    """What one rank compressed at one site, over the whole run: see harness.sglang_plugin.recorder.Counts."""

    calls: int = 0
    quantized: int = 0
    elements: int = 0
    wire_bytes: int = 0


class RankCounts(Strict):
    """What one rank did.

    Attributes:
        rank: The rank.
        calls: Compressed all-reduces, over all sites.
        elements: Elements of the tensors they reduced.
        wire_bytes: Bytes this rank sent for them.
        sites: The same by site.
        prefills: Forward passes that may compress and had tokens.
        prefill_tokens: Their tokens, but for those of drafts.
        decodes: Forward passes of decode.
    """

    rank: int
    calls: int
    elements: int
    wire_bytes: int
    sites: dict[str, SiteCounts]
    prefills: int
    prefill_tokens: int
    decodes: int


class Engagement(Strict):
    """One arm's proof.

    Attributes:
        ranks: What each rank did, by rank.
        facts: What the ranks say of themselves: SGLang's version, device, codec, layers.
        faults: Why this is no proof; empty where it is one.
    """

    ranks: list[RankCounts]
    facts: dict[str, Any]
    faults: list[str]


def prove(plan: Plan, arm: Arm, folder: Path, *, sglang: str) -> Engagement:
    """Read the logs of one of a plan's arms and judge them: see `read_engagement`.

    Args:
        plan: The plan.
        arm: The arm.
        folder: Where its plugin wrote.
        sglang: The version of SGLang that preflight found.
    """
    settings, on_npu = arm.settings, plan.device == "npu"
    own = settings.codec if ":" in settings.codec else "harness.collective"
    expected: dict[str, object] = {
        "world_size": plan.tp,
        "tp_size": plan.tp,
        "device": plan.device,
        "sglang": sglang,
    }
    # What does not compress may have been measured for a run of another codec: the baseline is the same.
    if arm.compressed:
        expected |= {
            "implementation": "sglang" if on_npu else own,
            # On an NPU: the name of the operator that SGLang calls.
            "codec": "npu_dynamic_quant" if on_npu else settings.claimed,
            "algorithm": settings.algorithm,
        }
    found = read_engagement(
        folder,
        tp=plan.tp,
        compressed=arm.compressed,
        policy=plan.policy_of(arm),
        expected=expected,
        sites=plan.sites,
    )
    if arm.compressed and found.ranks and not any(rank.calls for rank in found.ranks if rank.prefills):
        found.faults.insert(0, explain(sglang, model_class(plan.model_path)))
    return found


def read_engagement(
    folder: Path,
    *,
    tp: int,
    compressed: bool,
    policy: Policy,
    expected: Mapping[str, object],
    sites: Collection[str] = SITES,
) -> Engagement:
    """Read the ranks' logs of one arm and judge them.

    The compressed arm must have made the sum of every layer and site in each prefill, on every rank, as the policy
    says, with a quantization that really ran, and compressed nothing in decode or idle passes. The baseline arm, with
    the same plugin in it, must have compressed nothing.

    Args:
        folder: Where the plugin wrote.
        tp: How many ranks there must be.
        compressed: Which of the two arms it is.
        policy: What the compressed arm is to compress, and how.
        expected: What each rank must say of itself.
        sites: Where it is to compress; elsewhere it must not.
    """
    ranks: list[RankCounts] = []
    faults: list[str] = []
    all_facts: list[dict[str, Any]] = []
    for rank in range(tp):
        file = folder / f"rank-{rank}.jsonl"
        try:
            facts, passes = read_rank(file)
        except (OSError, ValueError) as error:
            faults.append(
                f"rank {rank} left no proof ({file.name}: {error}): the plugin was not loaded there, or failed; "
                "SGLang only logs that: search the server's log for 'plugin'"
            )
            continue
        all_facts.append(facts)
        ranks.append(_count(rank, passes))
        if bool(facts["flag"]) != compressed:
            faults.append(f"rank {rank} ran with enable_quant_communications={facts['flag']}")
        faults += [
            f"rank {rank} ran with {name}={facts.get(name)}, not {value}"
            for name, value in expected.items()
            if facts.get(name) != value
        ]
        faults += (
            _compressed_faults(RankLog(facts, passes), rank, policy, sites)
            if compressed
            else _baseline_faults(rank, passes)
        )
    if len({(counts.prefills, counts.prefill_tokens, counts.calls, counts.elements) for counts in ranks}) > 1:
        differing = ", ".join(
            f"rank {rank.rank}: {rank.calls} calls in {rank.prefills} prefills of {rank.prefill_tokens} tokens"
            for rank in ranks
        )
        faults.append(f"the ranks differ: {differing}")
    return Engagement(ranks=ranks, facts=_shared(all_facts), faults=faults)


def _count(rank: int, passes: list[dict[str, Any]]) -> RankCounts:
    names = (*SITES, *sorted({site for forward in passes for site in forward.get("sites", {})} - set(SITES)))
    sites = {
        name: SiteCounts(
            **{
                field: sum(forward.get("sites", {}).get(name, {}).get(field, 0) for forward in passes)
                for field in SiteCounts.model_fields
            }
        )
        for name in names
    }
    prefills = [forward for forward in passes if is_prefill(forward)]
    return RankCounts(
        rank=rank,
        calls=sum(site.calls for site in sites.values()),
        elements=sum(site.elements for site in sites.values()),
        wire_bytes=sum(site.wire_bytes for site in sites.values()),
        sites=sites,
        prefills=len(prefills),
        prefill_tokens=sum(prefill["tokens"] for prefill in prefills if prefill["mode"] not in OF_DRAFTS),
        decodes=sum(forward["mode"] == "DECODE" for forward in passes),
    )


def _compressed_faults(log: RankLog, rank: int, policy: Policy, where: Collection[str]) -> list[str]:
    layers, hidden, passes = int(log.facts["layers"]), int(log.facts["hidden"]), log.passes
    prefills = [forward for forward in passes if is_prefill(forward)]
    faults = [] if prefills else [f"rank {rank} ran no prefill, so nothing could be compressed"]
    faults += policy_faults(f"rank {rank}", prefills, policy, layers, where)
    for forward in passes:
        sites = forward.get("sites", {})
        if forward["mode"] in NEVER_COMPRESSED and sites:
            calls_here = sum(counts["calls"] for counts in sites.values())
            faults.append(f"rank {rank} compressed {calls_here} times in a pass of mode {forward['mode']}")
        if unknown := sites.keys() - set(SITES):
            faults.append(f"rank {rank} compressed at an unknown site: {', '.join(sorted(unknown))}")
        if wrong := _wrong_elements(forward, hidden):
            faults.append(f"rank {rank}: {wrong}")
        if plain := sum(counts["calls"] - counts["quantized"] for counts in sites.values()):
            faults.append(
                f"rank {rank} fell back to a plain all-reduce {plain} times in one pass: the quantizing kernel "
                "is missing there"
            )
    return first_few(faults)


def _wrong_elements(forward: dict[str, Any], hidden: int) -> str:
    """Say so if a pass's compressed sums were of other tensors than its tokens make."""
    for site, counts in forward.get("sites", {}).items():
        whole = counts["calls"] * forward["tokens"] * hidden
        if forward["mode"] not in NEVER_COMPRESSED and counts["elements"] != whole:
            return (
                f"a pass of {forward['tokens']} tokens compressed {counts['elements']} elements in {site}; "
                f"{counts['calls']} sums of {hidden} a token have {whole}"
            )
    return ""


def policy_faults(
    who: str, prefills: list[dict[str, Any]], policy: Policy, layers: int, where: Collection[str] = SITES
) -> list[str]:
    """Return where prefills made their sums in another way than the policy says; every layer's at every site.

    Args:
        who: Whose log it is.
        prefills: Lines of a rank's log.
        policy: What was to be compressed, and how.
        layers: The model's layers.
        where: The sites whose sums are asked how they are to be made; of the others none comes through the flag.
    """
    asked = {site: layers if site in where else 0 for site in SITES}
    expected = {site: _expected(policy, site, asked[site]) for site in SITES}
    faults = []
    for prefill in prefills:
        counts = {site: prefill.get("sites", {}).get(site, {}) for site in SITES}
        sums = {site: of_site.get("calls", 0) + of_site.get("plain", 0) for site, of_site in counts.items()}
        if sums != asked:
            found = ", ".join(f"{count} in {site}" for site, count in sums.items())
            faults.append(
                f"{who}: a prefill of {prefill['tokens']} tokens compressed {found}; the model has {layers} layers"
                + (f", of which {' and '.join(where)} alone is to be compressed" if len(where) < len(SITES) else "")
            )
            continue
        for site, how in expected.items():
            made = {label: sorted(numbers) for label, numbers in counts[site].get("layers", {}).items()}
            if made != how:
                label = next(label for label in (*made, *how) if made.get(label) != how.get(label))
                faults.append(
                    f"{who}: a prefill of {prefill['tokens']} tokens made the sums of layers "
                    f"{made.get(label, [])} in {site} by {label}, the policy says {how.get(label, [])}"
                )
    return faults


def _expected(policy: Policy, site: str, layers: int) -> dict[str, list[int]]:
    expected: dict[str, list[int]] = {}
    for layer in range(layers):
        choice = policy.choice(site, layer)
        expected.setdefault(choice.label if choice else PLAIN, []).append(layer)
    return expected


def _baseline_faults(rank: int, passes: list[dict[str, Any]]) -> list[str]:
    faults = []
    if not any(is_prefill(forward) for forward in passes):
        faults.append(f"rank {rank} ran no prefill, so there is no baseline")
    if calls := sum(counts["calls"] for forward in passes for counts in forward.get("sites", {}).values()):
        faults.append(f"rank {rank} compressed {calls} times, though this is the baseline")
    return faults


def first_few(faults: list[str]) -> list[str]:
    """Keep the first few: thousands of passes can be wrong in the same way."""
    more = len(faults) - SHOWN_FAULTS
    return faults if more <= 0 else [*faults[:SHOWN_FAULTS], f"and {more} more like these on the same rank"]


def _shared(all_facts: list[dict[str, Any]]) -> dict[str, Any]:
    if not all_facts:
        return {}
    first = all_facts[0]
    return {
        name: first[name]
        for name in first
        if name != "rank" and all(facts.get(name) == first[name] for facts in all_facts)
    }
