"""Whether a baseline can be trusted as a measure: it must be able to do the task, and answer alike twice."""

from collections.abc import Sequence

from scipy.stats import binomtest

from harness.judge.pairing import Pairing, margin_shifts, paired_counts
from harness.stats import ALPHA
from harness.stats.proportion import share_bounds
from harness.stats.shift import shift

# Error of all comparisons of the baseline with itself in a run: as often a sound run is INCONCLUSIVE by them.
AGAIN_ALPHA = 0.01
# Where margins lie as on BoolQ, a shift of all of them by this many nats turns about half a point of the answers;
# with a smaller one between two starts, however sure, the verdicts still hold.
LARGE_START_SHIFT = 0.02


def cannot_tell(
    right: int, n: int, *, chance: float, max_drop: float, constant: str | None, looks: int = 1
) -> str | None:
    """Say why a drop on these questions would prove nothing, or return None where it would.

    A model that guesses cannot lose accuracy: whatever compression does to it passes. Only a baseline that is
    surely above chance by more than the margin could fall by more than the margin.

    Args:
        right: Right answers of the baseline.
        n: Questions, at least 1.
        chance: What scores without looking at the question: the larger class's share, 0 for generated answers.
        max_drop: The margin.
        constant: The answer that always scores `chance`; None for generated answers.
        looks: How often one may look: the error of the bound is shared between the looks.
    """
    alpha = ALPHA / looks
    low, _ = share_bounds(right, n, alpha)
    needed = chance + max_drop
    if low > needed:
        return None
    guessed = f"always {constant!r} scores {chance:.3f}" if constant is not None else "no answer is right by chance"
    return (
        f"cannot judge a drop: the baseline is right on {right / n:.3f} of {n} questions, surely above {low:.3f} "
        f"only ({(1 - alpha) * 100:.4g}% sure), {guessed}, and the allowed drop is {max_drop * 100:g} points: it "
        f"must surely be above {needed:.3f}. Ask more questions, take a task that this model can do, judge the model "
        "by its predictions of fixed text (models.MODEL.fidelity), or make the row report_only"
    )


def differs_again(again: Pairing, *, comparisons: int) -> Sequence[str]:
    """Say by what the baseline, started again, differs from itself by more than chance.

    The drop's test takes the questions for the only source of chance. Where a start shifts the answers by itself, the
    difference of two arms holds that shift too, and no number of questions takes it out.

    Args:
        again: The baseline and the baseline again, on the same questions.
        comparisons: How many tasks are compared so in the run.
    """
    alpha = AGAIN_ALPHA / (2 * comparisons)
    counts = paired_counts(again)
    turned = counts.baseline_only + counts.compressed_only
    found = []
    if turned and (p := float(binomtest(counts.baseline_only, turned, 0.5).pvalue)) <= alpha:
        found.append(
            f"{counts.baseline_only} answers were lost and {counts.compressed_only} won by starting it again "
            f"(McNemar, p = {p:.2g}, needed {alpha:.2g})"
        )
    moved = shift(margin_shifts(again.pairs), alpha / 2)
    if moved is not None and max(moved.mean_low, -moved.mean_high) > LARGE_START_SHIFT:
        found.append(
            f"its margins moved by {moved.mean:+.3f} nats on average (surely beyond {LARGE_START_SHIFT:g}) by "
            "starting it again"
        )
    return found
