"""Proof that compression ran right, from the samples that each rank's plugin summed exactly.

See harness.sglang_plugin.live_check and .measure for what is sampled and measured.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from harness.judge.engagement import SHOWN_FAULTS, Engagement, first_few
from harness.judge.live_check_errors import TOKENS, Errors, errors_table, sqnr_db
from harness.judge.live_check_summary import in_short
from harness.judge.rank_log import CheckedFacts, CheckedPass, must_be, read_facts_and_lines
from harness.sglang_plugin.policy import SITES, Policy
from harness.stats.proportion import share_bounds
from harness.strict import Strict

# Within its bound a sum may still be noisier than the codec that is claimed, and a plain sum keeps every bound. But
# the claimed codec's error of the same inputs is known, not predicted, and correct implementations differ from it in
# single roundings alone. 3 dB is a factor of two in power; a plain bf16 sum is some 18 dB better than INT8.
TOLERANCE_DB = 3.0
# Beyond it errors are roundings of fp32 sums, whose order nobody promises.
FP32_DB = 100.0
NOT_RIGHT = "compression did not run right"
NOT_CHECKED = "it is not proven that compression ran right"
COUNTED = ("calls", "pass_seconds", "check_seconds")


class CheckedSums(Strict):
    """One arm's live check.

    Attributes:
        every: Every so many calls one was checked, and all of the first pass that compressed.
        codec: The claimed codec.
        algorithm: The claimed algorithm.
        calls: Compressed calls of rank 0.
        checked: Checked ones of them.
        excluded: Share of faulty calls that is excluded with 95 %, where no checked call was faulty: of more of them
            one would have been checked (Clopper-Pearson's bound, the exact rule of three).
        nonfinite: Tokens that no bound covers, because a message or the sum is not finite there, over all ranks and
            checked calls.
        seconds: Time that it took on the slowest rank.
        share: That time as a share of the passes that compressed, the check included; None without any.
        sites: Errors by site and kind of token.
        layers: The same by layer.
        wrong: Sums that are proven to be wrong.
        faults: Why this is no proof; empty where it is one.
        warnings: What is no fault of compression, and what nobody should overlook.
    """

    every: int
    codec: str
    algorithm: str
    calls: int
    checked: int
    excluded: float
    nonfinite: int
    seconds: float
    share: float | None
    sites: list[Errors]
    layers: list[Errors]
    wrong: list[str]
    faults: list[str]
    warnings: list[str]


def read_live_check(
    folder: Path,
    engagement: Engagement,
    *,
    tp: int,
    every: int,
    policy: Policy,
    sites: Collection[str] = SITES,
) -> CheckedSums | None:
    """Read the ranks' live checks of the compressed arm and judge them.

    Every rank must have checked the same calls: as many as were due, and one at least of every layer and site. No
    served element may be further from the exact sum than the claimed codec's bound, or finite where a message is not;
    all ranks must have served the same bits, and no call's error may be twice, or less than half, as powerful as the
    claimed codec's own error of the same inputs.

    Args:
        folder: Where the plugin wrote.
        engagement: What the arm's ranks compressed.
        tp: How many ranks there must be.
        every: The interval that was asked for; 0 for no check.
        policy: What was to be compressed, and how.
        sites: Where it was to be compressed.

    Returns:
        None where no check was asked for.
    """
    if not every:
        return None
    faults: list[str] = []
    facts: dict[str, Any] = {}
    ranks: dict[int, list[dict[str, Any]]] = {}
    for rank in range(tp):
        file = folder / f"live-rank-{rank}.jsonl"
        try:
            facts, ranks[rank] = _read(file)
        except (OSError, ValueError) as error:
            faults.append(f"rank {rank} left no live check ({file.name}: {error})")
    samples = {
        rank: [sample for forward in passes for sample in forward["samples"]] for rank, passes in ranks.items()
    }
    wrong = [text for rank, lines in samples.items() for text in _wrong(rank, lines)]
    if (said := in_short(samples, tp)) is not None:
        wrong.insert(0, said)
    faults += [
        f"rank {rank} checked no call, though the live check was on" for rank, lines in samples.items() if not lines
    ]
    if len({tuple(_what(sample) for sample in found) for found in samples.values()}) > 1:
        counts = ", ".join(f"rank {rank}: {len(lines)} calls" for rank, lines in samples.items())
        faults.append(f"the ranks checked different calls ({counts})")
    calls = engagement.ranks[0].calls if engagement.ranks else 0
    if not faults:
        faults += _gaps(samples[0], engagement, every, policy, sites)
    every_sample = [sample for found in samples.values() for sample in found]
    ends = [passes[-1] for passes in ranks.values() if passes]
    seconds = max((end["check_seconds"] for end in ends), default=0.0)
    pass_seconds = max((end["pass_seconds"] for end in ends), default=0.0)
    layers = sorted({sample["layer"] for sample in every_sample})
    return CheckedSums(
        every=every,
        codec=_all(every_sample, "codec") or str(facts.get("codec")),
        algorithm=_all(every_sample, "algorithm") or str(facts.get("algorithm")),
        calls=calls,
        checked=len(samples.get(0, [])),
        excluded=share_bounds(0, len(samples.get(0, [])))[1],
        nonfinite=sum(sample["nonfinite"] for sample in every_sample),
        seconds=seconds,
        share=seconds / pass_seconds if pass_seconds else None,
        sites=errors_table(every_sample, [None]),
        layers=errors_table(every_sample, layers),
        wrong=wrong,
        faults=faults,
        warnings=_nonfinite(samples.get(0, [])),
    )


def _gaps(
    samples: list[dict[str, Any]], engagement: Engagement, every: int, policy: Policy, sites: Collection[str]
) -> list[str]:
    """Return what a rank's checks leave open: sites without any, and checks that were due and are not there."""
    calls = engagement.ranks[0].calls if engagement.ranks else 0
    layers = range(int(engagement.facts.get("layers", 0)))
    to_check = {(site, layer) for site in sites for layer in layers if policy.choice(site, layer) is not None}
    checked = {(sample["site"], sample["layer"]) for sample in samples}
    gaps = [f"no call of layer {layer}, {site} was checked" for site, layer in sorted(to_check - checked)]
    # All calls of the first pass that compressed, then each whose number the interval divides.
    due = min(len(to_check), calls) + sum(number % every == 0 for number in range(len(to_check), calls))
    if len(samples) < due:
        gaps.append(f"{len(samples)} calls were checked; of {calls}, {due} were due: the log was cut")
    return first_few(gaps)


def _nonfinite(samples: list[dict[str, Any]]) -> list[str]:
    """Return the warning of tokens that no bound covers: a model that overflows does so without compression too."""
    broken = [sample for sample in samples if sample["nonfinite"]]
    if not broken:
        return []
    sites = dict.fromkeys(f"layer {sample['layer']}, {sample['site']}" for sample in broken)
    some = ", ".join(list(sites)[:SHOWN_FAULTS]) + (", and others" if len(sites) > SHOWN_FAULTS else "")
    tokens = sum(sample["nonfinite"] for sample in broken)
    text = (
        f"messages or sums of {tokens} checked tokens are not finite ({some}), so that no bound covers them: the "
        "model overflows there"
    )
    return [text]


def _all(samples: list[dict[str, Any]], name: str) -> str:
    """Return what the samples say under a name, each once: a policy may compress its sites in several ways."""
    return ", ".join(dict.fromkeys(sample[name] for sample in samples))


def _read(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    facts, rest = read_facts_and_lines(file)
    must_be(CheckedFacts, [facts], "its first line does not say what was checked")
    # A run that was resumed started another server, whose ranks add to the same logs and count from none.
    passes, before, last = [], dict.fromkeys(COUNTED, 0), dict.fromkeys(COUNTED, 0)
    for line in rest:
        if line == facts:
            before = last
            continue
        must_be(CheckedPass, [line], "it holds a line that is no checked pass")
        last = {name: line[name] + before[name] for name in COUNTED}
        passes.append({**line, **last})
    return facts, passes


def _what(sample: dict[str, Any]) -> tuple[int, str, int]:
    return sample["call"], sample["site"], sample["layer"]


def _wrong(rank: int, samples: list[dict[str, Any]]) -> list[str]:
    beyond, swallowed, differing, noise = [], [], [], []
    for sample in samples:
        claimed = f"{sample['codec']} ({sample['algorithm']})"
        where = f"rank {rank}, layer {sample['layer']}, {sample['site']}"
        tallies = [sample[tokens] for tokens in TOKENS]
        if count := sum(tally["beyond"] for tally in tallies):
            elements, over = (
                sum(tally["elements"] for tally in tallies),
                max(tally["over_bound"] for tally in tallies),
            )
            beyond.append(
                f"{where}: {count} of {elements} elements are further from the exact sum than {claimed} allows, "
                f"up to {over:.3g} times as far; the worst: {_element(sample['worst'], 'the exact sum is')}"
            )
        if sample["swallowed"]:
            swallowed.append(
                f"{where}: {sample['swallowed']} elements are finite, though a message is not there: a NaN was hidden"
            )
        if sample["differing"]:
            differing.append(
                f"{where}: {sample['differing']} elements are not the bits that rank 0 served; the worst: "
                f"{_element(sample['differing_most'], 'rank 0 served')}"
            )
        for tally, tokens in zip(tallies, ("token 0", "other tokens"), strict=True):
            noise += _noise_faults(f"{where}, {tokens}", tally, claimed)
    # A sum beyond its bound is noisier than it should be, which need not be said again.
    found = first_few(beyond) + first_few(swallowed) + first_few(differing)
    return found + ([] if beyond else first_few(noise))


def _noise_faults(where: str, tally: dict[str, Any], claimed: str) -> list[str]:
    served, own = sqnr_db([tally], "error"), sqnr_db([tally], "claimed")
    if served is None or own is None or own > FP32_DB or abs(served - own) <= TOLERANCE_DB:
        return []
    text = f"{where}: an SQNR of {served:.1f} dB, where {claimed} makes {own:.1f} dB of the same inputs"
    return [f"{text}: too good, so that something else ran, such as a plain all-reduce" if served > own else text]


def _element(worst: dict[str, Any], beside: str) -> str:
    text = f"row {worst['row']}, column {worst['column']}: served {worst['served']:.6g}, {beside} "
    bound = f", bound {worst['allowed']:.3g}" if worst["allowed"] else ""
    return f"{text}{worst['expected']:.6g}{bound}"
