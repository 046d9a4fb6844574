"""One task's part of the report: both arms' samples paired, counted and judged, and the noise floor beside them."""

from pathlib import Path
from statistics import fmean, pstdev

from harness.errors import HarnessError
from harness.plan import AGAIN, BASELINE, COMPRESSED
from harness.plan import Task as TaskPlan
from harness.records import ArmRecord
from harness.report.model import ArmScore, MarginShift, Paired, TaskReport
from harness.samples import Pair, Pairing, Sample, pair, read_samples, sample_file
from harness.stats import PairedCounts, mcnemar_drop, paired_bounds
from harness.verdict import TaskNumbers, judge_task


def task_report(folder: Path, name: str, task: TaskPlan, arm_records: dict[str, ArmRecord | None]) -> TaskReport:
    """Build one task's part of the report.

    Args:
        folder: The run's folder.
        name: The task.
        task: What the plan says of it.
        arm_records: How each arm ran, None for one that never came up.
    """
    filter_ = task.threshold.metric.split(",")[1]
    samples: dict[str, list[Sample]] = {}
    faults: list[str] = []
    for arm in arm_records:
        try:
            found = read_samples(sample_file(folder / arm, name))
        except HarnessError as error:
            faults.append(f"{arm} arm: {error}")
            found = []
        samples[arm] = [sample for sample in found if sample.filter == filter_]
    pairing = pair(samples[BASELINE], samples[COMPRESSED])
    again = pair(samples[BASELINE], samples[AGAIN], names=(BASELINE, AGAIN)) if AGAIN in samples else None
    counts = _counts(pairing)
    scores = {arm: _arm_score(pairing, samples[arm], arm, name, arm_records[arm]) for arm in (BASELINE, COMPRESSED)}
    missing = task.questions - len(pairing.pairs) - len({sample.doc_id for sample in pairing.failed})
    if not faults and not pairing.faults and missing:
        faults.append(f"{missing} of {task.questions} questions are missing")
    numbers = TaskNumbers(
        name=name,
        counts=counts,
        failed=sum(sample.error is not None for of in samples.values() for sample in of),
        truncated=scores[COMPRESSED].truncated,
        # Without samples the pairing's own faults only say that again.
        faults=tuple(faults) or (pairing.faults + (again.faults if again else ())),
    )
    judged = judge_task(numbers, task.threshold)
    record = arm_records[BASELINE]
    return TaskReport(
        n=counts.n,
        asked=task.questions,
        baseline=scores[BASELINE],
        compressed=scores[COMPRESSED],
        paired=_paired(pairing),
        noise=_paired(again) if again else None,
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        threshold=task.threshold,
        protocol=record.tasks[name].protocol if record and name in record.tasks else None,
    )


def _paired(pairing: Pairing) -> Paired:
    counts = _counts(pairing)
    low, high = paired_bounds(counts)
    return Paired(
        both_right=counts.both_right,
        baseline_only=counts.baseline_only,
        compressed_only=counts.compressed_only,
        both_wrong=counts.both_wrong,
        delta=counts.delta,
        delta_low=low,
        delta_high=high,
        mcnemar_p=mcnemar_drop(counts),
        answers_changed=sum(of.baseline.answer != of.compressed.answer for of in pairing.pairs),
        margin_shift=_margin_shift(pairing.pairs),
    )


def _counts(pairing: Pairing) -> PairedCounts:
    table = [(bool(of.baseline.right), bool(of.compressed.right)) for of in pairing.pairs]
    return PairedCounts(
        both_right=table.count((True, True)),
        baseline_only=table.count((True, False)),
        compressed_only=table.count((False, True)),
        both_wrong=table.count((False, False)),
    )


def _arm_score(pairing: Pairing, samples: list[Sample], arm: str, task: str, record: ArmRecord | None) -> ArmScore:
    paired = [of.baseline if arm == BASELINE else of.compressed for of in pairing.pairs]
    generated = [sample for sample in samples if sample.finish_reason is not None]
    return ArmScore(
        accuracy=fmean(bool(sample.right) for sample in paired) if paired else None,
        failed=sum(sample.error is not None for sample in samples),
        truncated=fmean(sample.finish_reason == "length" for sample in generated) if generated else None,
        seconds=record.tasks[task].seconds if record and task in record.tasks else None,
    )


def margin(sample: Sample) -> float | None:
    """Return logp(right choice) - logp(best wrong choice) of a scored sample, in nats; None for a generated one."""
    if sample.choices is None or sample.logprobs is None:
        return None
    right = sample.choices.index(sample.target)
    return sample.logprobs[right] - max(of for index, of in enumerate(sample.logprobs) if index != right)


def _margin_shift(pairs: tuple[Pair, ...]) -> MarginShift | None:
    margins = [(margin(of.baseline), margin(of.compressed)) for of in pairs]
    shifts = [after - before for before, after in margins if before is not None and after is not None]
    if not shifts:
        return None
    return MarginShift(mean=fmean(shifts), spread=pstdev(shifts), largest=max(abs(shift) for shift in shifts))
