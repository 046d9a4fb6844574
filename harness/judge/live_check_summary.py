"""What a broken all-reduce's violations have in common, in one line before the list of them."""

from collections.abc import Mapping, Sequence
from typing import Any

Samples = Mapping[int, Sequence[Mapping[str, Any]]]


def in_short(samples: Samples, tp: int) -> str | None:
    """Say what the calls beyond their bound share: column, part of the row, ranks, sites; None for fewer than two.

    Args:
        samples: Each rank's checked calls, as `harness.sglang_plugin.live_check` writes them.
        tp: How many ranks there are; a row's columns are theirs in equal parts, in order.
    """
    broken = [(rank, sample) for rank, found in samples.items() for sample in found if _beyond(sample)]
    if len(broken) < 2:  # noqa: PLR2004 - one has nothing in common with another
        return None
    checked = {_site(sample) for found in samples.values() for sample in found}
    sites = {_site(sample) for _, sample in broken}
    ranks = sorted({rank for rank, _ in broken})
    parts = []
    for name in ("column", "row"):
        places = {sample["worst"][name] for _, sample in broken}
        if len(places) == 1:
            parts.append(f"always {name} {places.pop()}")
    if len(owners := {_owner(sample, tp) for _, sample in broken}) == 1:
        parts.append(f"rank {owners.pop()}'s part of the row")
    where = "all" if sites == checked else f"{len(sites)} of"
    parts += [f"{where} {len(checked)} sites", f"seen by rank{'s' if len(ranks) > 1 else ''} {_listed(ranks)}"]
    calls = sum(len(found) for found in samples.values())
    most = max(sample[part]["over_bound"] for _, sample in broken for part in ("token0", "rest"))
    return (
        f"in short, {len(broken)} of {calls} checked calls are beyond the bound, up to {most:.3g} times as far as it "
        f"allows: {', '.join(parts)}"
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _site(sample: Mapping[str, Any]) -> tuple[int, str]:
    return int(sample["layer"]), str(sample["site"])


def _beyond(sample: Mapping[str, Any]) -> int:
    return int(sample["token0"]["beyond"]) + int(sample["rest"]["beyond"])


def _owner(sample: Mapping[str, Any], tp: int) -> int:
    """Return whose part of the row the worst element is in."""
    tally = sample["rest"] if sample["rest"]["tokens"] else sample["token0"]
    width = int(tally["elements"]) // int(tally["tokens"])
    return int(sample["worst"]["column"]) * tp // width
