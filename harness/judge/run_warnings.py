"""WARNINGs: what no threshold judges and nobody should overlook. Pure functions of numbers, in words.

What is known to happen to a model is no news: a warning says what is surely more than that, and surely large.
"""

from harness.config.thresholds import KnownAnswers
from harness.stats import ALPHA
from harness.stats.flips import Excess
from harness.stats.proportion import share_bounds
from harness.stats.shift import Shift

# A shift of a quarter of a nat changes the odds of an answer by 28 %. On the CPU default INT8 per token moves
# margins by more than twice that, INT8 in groups of 64 by a fifth.
LARGE_SHIFT = 0.25
LARGE_SHARE = 0.05
# A baseline that is started again turns a close answer now and then; one of 16, or three of 128, is no news.
LARGE_NOISE = 0.01
NOTHING_KNOWN = KnownAnswers(what="nothing")


def shift_concern(
    task: str, shift: Shift | None, noise: Shift | None, known: KnownAnswers | None = None
) -> str | None:
    """Return what is to be said of a shift of the scored margins, or None.

    Args:
        task: The task.
        shift: The compressed arm's margins less the baseline's, in nats.
        noise: The baseline's own, started again; None where that was not measured.
        known: What is known to happen to this model's answers.
    """
    if shift is None:
        return None
    large = max(LARGE_SHIFT, (known or NOTHING_KNOWN).margin_shift)
    if shift.rms_low <= max(large, noise.rms_high if noise else 0.0):
        return None
    itself = f", by itself {noise.rms:.1g}" if noise else ""
    return (
        f"{task}: compression moves the margins of the answers by {shift.rms:.2f} nats (root mean square; mean "
        f"{shift.mean:+.2f}, largest {shift.largest:+.2f}{itself}); more than {large:g} is "
        f"{_more_than(large, LARGE_SHIFT)}"
    )


def flips_concern(task: str, changed: Excess, *, judged: bool, known: KnownAnswers | None = None) -> str | None:
    """Return what is to be said of the share of answers that changed, or None.

    Args:
        task: The task.
        changed: Answers that changed, right or wrong, and what of it the baseline does by itself.
        judged: Whether a threshold judges flips already.
        known: What is known to happen to this model's answers.
    """
    usual = (known or NOTHING_KNOWN).answers_changed
    if judged or changed.low <= max(LARGE_SHARE, usual):
        return None
    itself = "" if changed.noise_share is None else f", {changed.noise_share:.0%} change by themselves"
    return (
        f"{task}: compression changes {changed.share:.0%} of the answers (more than {changed.low:.0%}, "
        f"{1 - ALPHA:.0%} sure{itself}{f'; {usual:.0%} are known to' if usual else ''})"
    )


def noise_concern(task: str, again: int, n: int, known: KnownAnswers | None = None) -> str | None:
    """Return what is to be said of answers that the baseline changes by itself, or None.

    Args:
        task: The task.
        again: Answers that changed from one start of the baseline to the next.
        n: Of so many.
        known: What is known to happen to this model's answers.
    """
    usual = max(LARGE_NOISE, (known or NOTHING_KNOWN).changes_by_itself)
    low, _ = share_bounds(again, n)
    if low <= usual:
        return None
    return (
        f"{task}: the baseline, started again, changes {again} of {n} answers by itself (more than {low:.1%}, "
        f"{1 - ALPHA:.0%} sure; {usual:.1%} is usual)"
    )


def lost_concern(task: str, p: float) -> str | None:
    """Return what is to be said where more answers were lost than won, though within the margin, or None.

    Args:
        task: The task.
        p: The exact McNemar test's p-value, corrected for the number of tasks.
    """
    return f"{task}: more answers are lost than won (p = {p:.2g})" if p <= ALPHA else None


def _more_than(limit: float, large: float) -> str:
    return "large" if limit == large else "known to happen"
