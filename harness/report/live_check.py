"""The live check in words and numbers: a line for the terminal, and what the Markdown table shows."""

import math

from harness.judge.live_check import Errors, LiveCheck

SHOWN_LAYERS = 6


def live_check_line(of: LiveCheck) -> str:
    """Return the live check in a line."""
    if not of.sites:
        return "live check: no compressed call was summed exactly"
    worst = max(of.layers, key=lambda row: row.over_bound)
    noise = ", ".join(f"SQNR {decibels(row.sqnr_db)} in {row.site}" for row in of.sites if row.tokens == "rest")
    share = f", {of.share:.1%} of its prefills" if of.share is not None else ""
    return (
        f"live check: {of.checked} of {of.calls} compressed calls summed exactly: error at most "
        f"{worst.over_bound:.3f} of the bound of {of.codec} (layer {worst.layer}, {worst.site}); {noise}; it took "
        f"{of.seconds:.1f} s{share}"
    )


def worst_layers(of: LiveCheck) -> list[Errors]:
    """Return the layers and sites with the lowest SQNR, token 0 left out, the lowest first."""
    rows = [row for row in of.layers if row.tokens == "rest" and row.sqnr_db is not None]
    return sorted(rows, key=lambda row: row.sqnr_db or -math.inf)[:SHOWN_LAYERS]


def decibels(value: float | None) -> str:
    """Return a ratio in dB, or a dash for none."""
    return "-" if value is None else f"{value:.1f} dB"
