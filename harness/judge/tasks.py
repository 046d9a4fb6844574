"""The tasks' part of the report: arms paired, counted, tested together and judged, the noise floor beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from harness.errors import HarnessError
from harness.judge.drop import Drop, DropToTest, check_drops
from harness.judge.early_stop import certain, design_of
from harness.judge.pairing import Pair, Pairing, changed, counted, flipped, margin_shifts, pair, paired_counts
from harness.judge.results import ArmScore, Paired, TaskReport, Tests
from harness.judge.run_warnings import flips_concern, lost_concern, noise_concern, shift_concern
from harness.judge.verdict import TaskNumbers, Verdict, judge_task
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, TaskPlan
from harness.records.run import ArmRecord
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample, read_samples
from harness.stats import PairedCounts, mcnemar_drop, paired_bounds
from harness.stats.flips import Excess, excess_flips
from harness.stats.multiple import holm
from harness.stats.proportion import chance_to_pass_floor, share_bounds
from harness.stats.resample import bootstrap_delta
from harness.stats.shift import shift

ArmRecords = dict[str, ArmRecord | None]


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """One task's samples, paired.

    Attributes:
        task: What the plan says of it.
        asked: How many questions were asked of the arm under test.
        samples: Each arm's samples of the judged filter, those of the questions asked.
        pairing: The baseline and the compressed arm.
        again: The baseline and the baseline again, where that was run.
        counts: The first pairing's table.
        faults: Why the arms cannot be compared.
    """

    task: TaskPlan
    asked: int
    samples: dict[str, list[Sample]]
    pairing: Pairing
    again: Pairing | None
    counts: PairedCounts
    faults: tuple[str, ...]


def task_reports(folder: RunFolder, tasks: dict[str, TaskPlan], arm_records: ArmRecords) -> dict[str, TaskReport]:
    """Build all tasks' parts of the report; together, since their tests share one level of error.

    Args:
        folder: The run's folder.
        tasks: What the plan says of each task.
        arm_records: How each arm ran, None for one that never came up.
    """
    measured = {name: _measure(folder, name, task, arm_records) for name, task in tasks.items()}
    drops = check_drops(
        {
            name: DropToTest(
                counts=found.counts, max_drop=found.task.threshold.max_drop, design=design_of(found.task)
            )
            for name, found in measured.items()
            if found.task.threshold.max_drop is not None
        }
    )
    mcnemar = holm({name: mcnemar_drop(found.counts) for name, found in measured.items()})
    return {
        name: _report(name, found, arm_records, drop=drops.get(name), mcnemar_p=mcnemar[name])
        for name, found in measured.items()
    }


def _measure(folder: RunFolder, name: str, task: TaskPlan, arm_records: ArmRecords) -> _Measured:
    record = arm_records[COMPRESSED]
    asked = record.tasks[name].questions if record and name in record.tasks else task.questions
    samples: dict[str, list[Sample]] = {}
    faults: list[str] = []
    for arm in arm_records:
        try:
            found = read_samples(folder.arm(arm).samples(name))
        except HarnessError as error:
            faults.append(f"{arm} arm: {error}")
            found = []
        samples[arm] = counted(found, task.threshold.filter, asked)
    pairing = pair(samples[BASELINE], samples[COMPRESSED])
    again = pair(samples[BASELINE], samples[AGAIN], names=(BASELINE, AGAIN)) if AGAIN in samples else None
    missing = asked - len(pairing.pairs) - len({sample.doc_id for sample in pairing.failed})
    if not faults:
        faults += [*pairing.faults, *(again.faults if again else ())]
    if not faults and missing:
        faults.append(f"{missing} of {asked} questions are missing")
    if not faults and asked < task.questions and not certain(task, samples[BASELINE], samples[COMPRESSED]):
        faults.append(f"the task ended after {asked} of {task.questions} questions, though nothing was certain then")
    return _Measured(
        task=task,
        asked=asked,
        samples=samples,
        pairing=pairing,
        again=again,
        counts=paired_counts(pairing),
        faults=tuple(faults),
    )


def _report(
    name: str, measured: _Measured, arm_records: ArmRecords, *, drop: Drop | None, mcnemar_p: float
) -> TaskReport:
    task, counts, pairing, again = measured.task, measured.counts, measured.pairing, measured.again
    scores = {arm: _arm_score(measured, arm, name, arm_records[arm]) for arm in (BASELINE, COMPRESSED)}
    flips = _excess(pairing, again, flipped, accepted=task.threshold.max_flips)
    numbers = TaskNumbers(
        name=name,
        counts=counts,
        drop=drop,
        flips=flips,
        failed=sum(sample.error is not None for samples in measured.samples.values() for sample in samples),
        truncated=scores[COMPRESSED].truncated,
        faults=measured.faults,
    )
    judged = judge_task(numbers, task.threshold)
    record = arm_records[BASELINE]
    low, high = share_bounds(counts.both_right + counts.compressed_only, counts.n)
    floor = task.threshold.floor if task.threshold.floor_rule == "point" else None
    return TaskReport(
        n=counts.n,
        asked=measured.asked,
        planned=task.questions,
        baseline=scores[BASELINE],
        compressed=scores[COMPRESSED],
        paired=_paired(pairing, drop),
        noise=_paired(again, None) if again else None,
        tests=Tests(
            drop_low=drop.low if drop else None,
            drop_high=drop.high if drop else None,
            drop_p_fails=drop.p_fails if drop else None,
            corrected=drop.because.removeprefix(", ") if drop else "",
            mcnemar_p=mcnemar_p,
            floor_low=low,
            floor_high=high,
            floor_chance=chance_to_pass_floor(counts.n, floor) if floor is not None and counts.n else None,
            excess_flips=flips.excess,
            excess_flips_low=flips.low,
            excess_flips_high=flips.high,
        ),
        warnings=[] if judged.verdict is Verdict.ERROR else _warnings(name, measured, mcnemar_p),
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        threshold=task.threshold,
        protocol=record.tasks[name].protocol if record and name in record.tasks else None,
    )


def _warnings(name: str, measured: _Measured, mcnemar_p: float) -> list[str]:
    pairing, again, known = measured.pairing, measured.again, measured.task.threshold.known
    scored = any(question.baseline.choices for question in pairing.pairs)
    found = [
        shift_concern(
            name,
            shift(margin_shifts(pairing.pairs)),
            shift(margin_shifts(again.pairs)) if again else None,
            known,
        ),
        # A generated text may change a word and not its answer; for those the flips say more than the answers.
        flips_concern(
            name,
            _excess(pairing, again, changed if scored else flipped),
            judged=measured.task.threshold.max_flips is not None,
            known=known,
        ),
        noise_concern(name, sum(map(changed, again.pairs)), len(again.pairs), known) if again else None,
        lost_concern(name, mcnemar_p),
    ]
    return [text for text in found if text]


def _paired(pairing: Pairing, drop: Drop | None) -> Paired:
    counts = paired_counts(pairing)
    low, high = (drop.low, drop.high) if drop else paired_bounds(counts)
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
        flips=fmean(map(flipped, pairing.pairs)) if pairing.pairs else 0.0,
        answers_changed=sum(map(changed, pairing.pairs)),
        margin_shift=shift(margin_shifts(pairing.pairs)),
    )


def _excess(
    pairing: Pairing, again: Pairing | None, event: Callable[[Pair], bool], *, accepted: float | None = None
) -> Excess:
    """Return how often something happens between the arms, beyond how often it does in the baseline by itself."""
    by_itself = {question.baseline.key: event(question) for question in again.pairs} if again else None
    both = [question for question in pairing.pairs if by_itself is None or question.baseline.key in by_itself]
    noise = None if by_itself is None else [by_itself[question.baseline.key] for question in both]
    return excess_flips([event(question) for question in both], noise, accepted=accepted)


def _arm_score(measured: _Measured, arm: str, task: str, record: ArmRecord | None) -> ArmScore:
    pairs, samples = measured.pairing.pairs, measured.samples[arm]
    paired = [question.baseline if arm == BASELINE else question.compressed for question in pairs]
    generated = [sample for sample in samples if sample.finish_reason is not None]
    return ArmScore(
        accuracy=fmean(bool(sample.right) for sample in paired) if paired else None,
        failed=sum(sample.error is not None for sample in samples),
        truncated=fmean(sample.finish_reason == "length" for sample in generated) if generated else None,
        seconds=record.tasks[task].seconds if record and task in record.tasks else None,
    )
