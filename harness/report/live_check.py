"""The live check in words and numbers: a line for the terminal, and what the Markdown table shows."""

import math

from harness.judge.live_check import CheckedSums
from harness.judge.live_check_errors import Errors

SHOWN_LAYERS = 6


def live_check_line(check: CheckedSums) -> str:
    """Return the live check in a line."""
    if not check.sites:
        return "live check: no compressed call was summed exactly"
    worst = max(check.layers, key=lambda row: row.over_bound)
    noise = ", ".join(f"SQNR {decibels(row.sqnr_db)} in {row.site}" for row in check.sites if row.tokens == "rest")
    share = f", {check.share:.1%} of its prefills" if check.share is not None else ""
    excluded = (
        f"excluded with 95 %: faults in more than {check.excluded:.1%} of the calls; "
        if not check.wrong and not check.faults
        else ""
    )
    return (
        f"live check: {check.checked} of {check.calls} compressed calls summed exactly; {excluded}error at most "
        f"{worst.over_bound:.3f} of the bound of {check.codec} (layer {worst.layer}, {worst.site}); {noise}; it took "
        f"{check.seconds:.1f} s{share}"
    )


def worst_layers(check: CheckedSums) -> list[Errors]:
    """Return the layers and sites with the lowest SQNR, token 0 left out, the lowest first."""
    rows = [row for row in check.layers if row.tokens == "rest" and row.sqnr_db is not None]
    return sorted(rows, key=lambda row: row.sqnr_db or -math.inf)[:SHOWN_LAYERS]


def decibels(value: float | None) -> str:
    """Return a ratio in dB, or a dash for none."""
    return "-" if value is None else f"{value:.1f} dB"
