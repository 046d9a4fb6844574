"""Two arms on the same questions, and what decides on their drop, as the report shows them."""

from collections.abc import Sequence
from statistics import fmean

from harness.judge.drop import Drop
from harness.judge.pairing import Pair, changed, counts_of, flipped, margin_shifts
from harness.judge.results import JudgedDrop, Paired
from harness.stats import mcnemar_drop, paired_bounds
from harness.stats.resample import bootstrap_delta
from harness.stats.shift import shift


def paired_report(pairs: Sequence[Pair]) -> Paired:
    """Count and compare the pairs of one task, or of several."""
    counts = counts_of(pairs)
    low, high = paired_bounds(counts)
    bootstrap_low, bootstrap_high = bootstrap_delta(counts)
    return Paired(
        both_right=counts.both_right,
        baseline_only=counts.baseline_only,
        compressed_only=counts.compressed_only,
        both_wrong=counts.both_wrong,
        delta=counts.delta,
        delta_low=low,
        delta_high=high,
        bootstrap_low=bootstrap_low,
        bootstrap_high=bootstrap_high,
        mcnemar_p=mcnemar_drop(counts),
        flips=fmean(map(flipped, pairs)) if pairs else 0.0,
        answers_changed=sum(map(changed, pairs)),
        margin_shift=shift(margin_shifts(pairs)),
    )


def judged_drop(drop: Drop) -> JudgedDrop:
    """Return the bounds that decide, and how sure each is."""
    return JudgedDrop(
        max_drop=drop.max_drop,
        low=drop.low,
        low_sure=drop.pass_words,
        high=drop.high,
        high_sure=drop.fail_words,
        design_effect=drop.counts.design_effect,
    )
