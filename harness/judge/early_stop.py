"""When a task may end before its last question: as soon as no further answer can change its verdict.

Looks are taken at numbers of questions that are fixed beforehand, and the drop is judged there by a
group-sequential design, whose bounds are wider than those of a single look by what looking often costs.
"""

from collections.abc import Sequence

from harness.judge.baseline import cannot_tell
from harness.judge.choices import summarise_choices
from harness.judge.pairing import pair, paired_counts
from harness.plan.plan import TaskPlan
from harness.records.samples import Sample
from harness.stats import ALPHA, PairedCounts
from harness.stats.sequential import Design, decide, default_looks, floor_decided, make_design


def design_of(task: TaskPlan, fail_alpha: float) -> Design | None:
    """Return the looks and bounds of a task that may end early; None for one that asks all its questions.

    Looks are those of `default_looks`, the first of them at the threshold's `min_questions` where it would be before:
    fewer questions decide nothing.

    Args:
        task: The task.
        fail_alpha: Its drop's part of the run's error budget, over all looks.
    """
    margin = task.threshold.max_drop
    if not task.early_stop or margin is None:
        return None
    fewest = min(task.threshold.min_questions, task.questions)
    looks = sorted({max(look, fewest) for look in default_looks(task.questions)})
    return make_design(task.questions, margin, alpha=ALPHA, fail_alpha=fail_alpha, looks=looks)


def parts(task: TaskPlan, fail_alpha: float) -> list[range]:
    """Return the task's questions in parts, after each of which the verdict is looked at; args as for `design_of`."""
    design = design_of(task, fail_alpha)
    ends = design.looks if design else (task.questions,)
    return [range(start, end) for start, end in zip((0, *ends), ends, strict=False)]


def certain(task: TaskPlan, baseline: Sequence[Sample], compressed: Sequence[Sample], fail_alpha: float) -> bool:
    """Return whether the task's verdict can no longer change.

    Args:
        task: The task.
        baseline: The baseline's samples up to a look; more of them do no harm.
        compressed: The compressed arm's samples up to the same look.
        fail_alpha: As for `design_of`.
    """
    design = design_of(task, fail_alpha)
    if design is None:
        return False
    filter_ = task.threshold.filter
    ours = [sample for sample in compressed if sample.filter == filter_]
    asked = {sample.key for sample in ours}
    pairing = pair([sample for sample in baseline if sample.key in asked], ours)
    if pairing.faults or pairing.failed:
        # An ERROR already, whatever is asked from here on; what can be measured still is.
        return False
    counts = paired_counts(pairing)
    if counts.n not in design.looks:
        return False
    choices = summarise_choices(pairing.pairs)
    why = cannot_tell(
        counts.both_right + counts.baseline_only,
        counts.n,
        chance=choices.chance if choices else 0.0,
        max_drop=design.max_drop,
        constant=None,
        looks=len(design.looks),
    )
    if why is not None:
        # With more questions the baseline may be shown to be a measure.
        return False
    gates = [_of(decide(design, counts)), *_other_gates(task, counts)]
    return False in gates or all(gate is True for gate in gates)


def _other_gates(task: TaskPlan, counts: PairedCounts) -> list[bool | None]:
    """Return for each gate but the drop whether it is passed for certain, failed for certain, or open (None)."""
    threshold, gates = task.threshold, list[bool | None]()
    if threshold.floor is not None:
        right = counts.both_right + counts.compressed_only
        point = threshold.floor_rule == "point" and threshold.floor_questions is None
        gates.append(floor_decided(right, counts.n, task.questions, threshold.floor) if point else None)
    return [*gates, *(None for key in ("max_truncated", "max_flips") if getattr(threshold, key) is not None)]


def _of(decision: str | None) -> bool | None:
    return None if decision is None else decision == "PASS"
