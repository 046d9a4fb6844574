"""WARNINGs: what no threshold judges and nobody should overlook. Pure functions of numbers, in words."""

from harness.stats import ALPHA
from harness.stats.flips import Excess
from harness.stats.shift import Shift

# A shift of a quarter of a nat changes the odds of an answer by 28 %. On the CPU default INT8 per token moves
# margins by more than twice that, INT8 in groups of 64 by a fifth.
LARGE_SHIFT = 0.25
LARGE_SHARE = 0.05


def shift_concern(task: str, shift: Shift | None, noise: Shift | None) -> str | None:
    """Return what is to be said of a shift of the scored margins, or None.

    Args:
        task: The task.
        shift: The compressed arm's margins less the baseline's, in nats.
        noise: The baseline's own, started again; None where that was not measured.
    """
    if shift is None:
        return None
    limit = max(LARGE_SHIFT, noise.rms_high if noise else 0.0)
    if shift.rms_low <= limit:
        return None
    itself = f", by itself {noise.rms:.1g}" if noise else ""
    return (
        f"{task}: compression moves the margins of the answers by {shift.rms:.2f} nats (root mean square; mean "
        f"{shift.mean:+.2f}, largest {shift.largest:+.2f}{itself}); more than {LARGE_SHIFT:g} is large"
    )


def flips_concern(task: str, changed: Excess, *, judged: bool) -> str | None:
    """Return what is to be said of the share of answers that changed, or None.

    Args:
        task: The task.
        changed: Answers that changed, right or wrong, and what of it the baseline does by itself.
        judged: Whether a threshold judges flips already.
    """
    if judged or changed.low <= LARGE_SHARE:
        return None
    itself = "" if changed.noise_share is None else f", {changed.noise_share:.0%} change by themselves"
    return (
        f"{task}: compression changes {changed.share:.0%} of the answers (more than {changed.low:.0%}, "
        f"{1 - ALPHA:.0%} sure{itself})"
    )


def noise_concern(task: str, again: int, n: int) -> str | None:
    """Return what is to be said of answers that the baseline changes by itself, or None."""
    if not again:
        return None
    return f"{task}: the baseline, started again, changes {again} of {n} answers by itself"


def lost_concern(task: str, p: float) -> str | None:
    """Return what is to be said where more answers were lost than won, though within the margin, or None.

    Args:
        task: The task.
        p: The exact McNemar test's p-value, corrected for the number of tasks.
    """
    return f"{task}: more answers are lost than won (p = {p:.2g})" if p <= ALPHA else None
