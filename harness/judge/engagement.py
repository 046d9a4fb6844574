"""Proof that compression ran, where it should and nowhere else, from the logs that each rank's plugin wrote."""

import json
from pathlib import Path
from typing import Any

from harness.strict import Strict

SITES = ("attention", "ffn")
# SGLang's gate: the modes in which it never compresses (ForwardMode.is_decode_or_idle).
NEVER_COMPRESSED = frozenset({"DECODE", "IDLE", "OUTSIDE"})
JUDGED_FACTS = frozenset({"flag", "tp_size", "layers"})
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
        prefill_tokens: Their tokens.
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


def read_engagement(folder: Path, *, tp: int, compressed: bool) -> Engagement:
    """Read the ranks' logs of one arm and judge them.

    The compressed arm must have compressed once per layer and site in each prefill, on every rank, with a
    quantization that really ran, and never in decode or idle passes. The baseline arm, with the same plugin
    in it, must have compressed nothing.

    Args:
        folder: Where the plugin wrote.
        tp: How many ranks there must be.
        compressed: Which of the two arms it is.
    """
    ranks: list[RankCounts] = []
    faults: list[str] = []
    all_facts: list[dict[str, Any]] = []
    for rank in range(tp):
        file = folder / f"rank-{rank}.jsonl"
        try:
            facts, passes = _read(file)
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
        if facts["tp_size"] != tp:
            faults.append(f"rank {rank} ran with tp_size={facts['tp_size']}, not {tp}")
        judge = _compressed_faults if compressed else _baseline_faults
        faults += judge(rank, passes, int(facts["layers"]))
    if len({(counts.prefills, counts.calls, counts.elements) for counts in ranks}) > 1:
        differing = ", ".join(
            f"rank {counts.rank}: {counts.calls} calls in {counts.prefills} prefills" for counts in ranks
        )
        faults.append(f"the ranks differ: {differing}")
    return Engagement(ranks=ranks, facts=_shared(all_facts), faults=faults)


def _read(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    if not lines:
        raise ValueError("is empty")
    facts, *passes = (json.loads(line) for line in lines)
    if not isinstance(facts, dict) or not facts.keys() >= JUDGED_FACTS:
        raise ValueError("its first line lacks the rank's facts")
    if not all(isinstance(forward, dict) and {"mode", "tokens"} <= forward.keys() for forward in passes):
        raise ValueError("it holds a line that is no forward pass")
    return facts, passes


def _is_prefill(forward: dict[str, Any]) -> bool:
    return forward["mode"] not in NEVER_COMPRESSED and forward["tokens"] > 0


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
    prefills = [forward for forward in passes if _is_prefill(forward)]
    return RankCounts(
        rank=rank,
        calls=sum(site.calls for site in sites.values()),
        elements=sum(site.elements for site in sites.values()),
        wire_bytes=sum(site.wire_bytes for site in sites.values()),
        sites=sites,
        prefills=len(prefills),
        prefill_tokens=sum(prefill["tokens"] for prefill in prefills),
        decodes=sum(forward["mode"] == "DECODE" for forward in passes),
    )


def _compressed_faults(rank: int, passes: list[dict[str, Any]], layers: int) -> list[str]:
    faults = []
    prefills = [forward for forward in passes if _is_prefill(forward)]
    if not prefills:
        faults.append(f"rank {rank} ran no prefill, so nothing could be compressed")
    for prefill in prefills:
        calls = {site: prefill.get("sites", {}).get(site, {}).get("calls", 0) for site in SITES}
        if any(count != layers for count in calls.values()):
            found = ", ".join(f"{count} in {site}" for site, count in calls.items())
            faults.append(
                f"rank {rank}: a prefill of {prefill['tokens']} tokens compressed {found}; "
                f"the model has {layers} layers"
            )
    for forward in passes:
        sites = forward.get("sites", {})
        if forward["mode"] in NEVER_COMPRESSED and sites:
            calls_here = sum(counts["calls"] for counts in sites.values())
            faults.append(f"rank {rank} compressed {calls_here} times in a pass of mode {forward['mode']}")
        if unknown := sites.keys() - set(SITES):
            faults.append(f"rank {rank} compressed at an unknown site: {', '.join(sorted(unknown))}")
        if plain := sum(counts["calls"] - counts["quantized"] for counts in sites.values()):
            faults.append(
                f"rank {rank} fell back to a plain all-reduce {plain} times in one pass: the quantizing kernel "
                "is missing there"
            )
    return first_few(faults)


def _baseline_faults(rank: int, passes: list[dict[str, Any]], _layers: int) -> list[str]:
    faults = []
    if not any(_is_prefill(forward) for forward in passes):
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
