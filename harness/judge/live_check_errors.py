"""The errors of calls that were summed exactly, by site, layer and kind of token."""

import math
from typing import Any

from harness.sglang_plugin.policy import SITES
from harness.strict import Strict

TOKENS = ("token0", "rest")


class Errors(Strict):
    """The errors of some calls' sums, over all ranks.

    Attributes:
        site: `attention` or `ffn`.
        layer: The layer, from 0; None for all of them.
        tokens: `token0` (at position 0 of their sequence) or `rest`.
        calls: Checked calls.
        over_bound: Largest error in units of its element's bound; more than 1 is beyond it.
        sqnr_db: Signal to quantization noise of what was served, dB; infinite for no error, None for no signal.
        claimed_db: The same of what the claimed codec makes of the same inputs.
        crest: Largest crest factor (peak over root mean square) of a message's token.
        flushed: Share of the messages' elements other than zero that are encoded as zero; None without any.
    """

    site: str
    layer: int | None
    tokens: str
    calls: int
    over_bound: float
    sqnr_db: float | None
    claimed_db: float | None
    crest: float
    flushed: float | None


def sqnr_db(tallies: list[dict[str, Any]], error: str) -> float | None:
    """Return the signal-to-noise ratio of tallies, dB: infinite for no error, None for no signal.

    Args:
        tallies: What the plugin measured of some calls.
        error: Whose error: `error`, of what was served; `claimed`, of the claimed codec.
    """
    signal, power = sum(tally["signal"] for tally in tallies), sum(tally[error] for tally in tallies)
    if not signal:
        return None
    if not power or math.isinf(power):
        return math.inf if not power else -math.inf
    return 10 * math.log10(signal / power)


def errors_table(samples: list[dict[str, Any]], layers: list[int] | list[None]) -> list[Errors]:
    """Return the errors of each layer, site and kind of token that was checked; of the layer None, those of all."""
    rows = []
    for layer in layers:
        for site in SITES:
            here = [sample for sample in samples if sample["site"] == site and layer in (None, sample["layer"])]
            for tokens in TOKENS:
                chosen = [sample for sample in here if sample[tokens]["tokens"]]
                rows += [_errors(site, layer, tokens, chosen)] if chosen else []
    return rows


def _errors(site: str, layer: int | None, tokens: str, samples: list[dict[str, Any]]) -> Errors:
    tallies = [sample[tokens] for sample in samples]
    nonzero = sum(tally["nonzero"] for tally in tallies)
    return Errors(
        site=site,
        layer=layer,
        tokens=tokens,
        calls=len({sample["call"] for sample in samples}),
        over_bound=max(tally["over_bound"] for tally in tallies),
        sqnr_db=sqnr_db(tallies, "error"),
        claimed_db=sqnr_db(tallies, "claimed"),
        crest=max(tally["crest"] for tally in tallies),
        flushed=sum(tally["flushed"] for tally in tallies) / nonzero if nonzero else None,
    )
