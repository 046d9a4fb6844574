"""The tasks' part of the report: arms paired, counted, tested together and judged, the noise floor beside them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean

from harness.errors import HarnessError
from harness.judge.baseline import differs_again
from harness.judge.choices import Choices, summarise_choices
from harness.judge.drop import Drop, check_drop
from harness.judge.early_stop import certain, design_of
from harness.judge.error_budget import POOLED_GATE, fail_levels
from harness.judge.floors import missed_upstream
from harness.judge.paired_report import judged_drop, paired_report
from harness.judge.pairing import (
    Pair,
    Pairing,
    changed,
    counted,
    flipped,
    margin_shifts,
    pair,
    paired_counts,
)
from harness.judge.pooled import judge_pooled
from harness.judge.results import ArmScore, Gate, PooledReport, TaskReport, Tests
from harness.judge.run_warnings import flips_concern, lost_concern, noise_concern, shift_concern
from harness.judge.task_gates import Levels, TaskNumbers, judge_gates, judge_task, levels_of
from harness.judge.verdict import Verdict
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, Plan, TaskPlan
from harness.records.run import ArmRecord
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample, read_samples
from harness.stats import ALPHA, PairedCounts, mcnemar_drop
from harness.stats.flips import Excess, excess_flips
from harness.stats.multiple import holm
from harness.stats.proportion import chance_to_pass_floor, false_alarm_of_floor, share_bounds
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
        drop: The test of the drop; None without a `max_drop`.
        choices: What guessing scores, of scored choices.
        faults: Why the arms cannot be compared.
    """

    task: TaskPlan
    asked: int
    samples: dict[str, list[Sample]]
    pairing: Pairing
    again: Pairing | None
    counts: PairedCounts
    drop: Drop | None
    choices: Choices | None
    faults: tuple[str, ...]


def task_reports(
    folder: RunFolder, plan: Plan, arm_records: ArmRecords
) -> tuple[dict[str, TaskReport], PooledReport | None]:
    """Build all tasks' parts of the report; together, since their tests share one budget of error.

    Args:
        folder: The run's folder.
        plan: The run's plan.
        arm_records: How each arm ran, None for one that never came up.

    Returns:
        The tasks by name, and all of them pooled where that is judged.
    """
    budget = fail_levels(plan)
    measured = {
        name: _measure(folder, name, task, arm_records, fail_alpha=budget.get(f"{name}.max_drop", ALPHA))
        for name, task in plan.tasks.items()
    }
    numbers = {name: _numbers(name, found, budget, among=len(measured)) for name, found in measured.items()}
    mcnemar = holm({name: mcnemar_drop(found.counts) for name, found in measured.items()})
    reports = {
        name: _report(name, found, numbers[name], levels_of(name, budget), arm_records, mcnemar_p=mcnemar[name])
        for name, found in measured.items()
    }
    pairs = {name: found.pairing.pairs for name, found in measured.items()}
    return reports, judge_pooled(plan, pairs, numbers, budget.get(POOLED_GATE, ALPHA))


def _measure(
    folder: RunFolder, name: str, task: TaskPlan, arm_records: ArmRecords, *, fail_alpha: float
) -> _Measured:
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
    if (
        not faults
        and asked < task.questions
        and not certain(task, samples[BASELINE], samples[COMPRESSED], fail_alpha)
    ):
        faults.append(f"the task ended after {asked} of {task.questions} questions, though nothing was certain then")
    counts = paired_counts(pairing)
    return _Measured(
        task=task,
        asked=asked,
        samples=samples,
        pairing=pairing,
        again=again,
        counts=counts,
        drop=check_drop(counts, margin, fail_alpha=fail_alpha, design=design_of(task, fail_alpha))
        if (margin := task.threshold.max_drop) is not None
        else None,
        choices=summarise_choices(pairing.pairs),
        faults=tuple(faults),
    )


def _numbers(name: str, measured: _Measured, budget: dict[str, float], *, among: int) -> TaskNumbers:
    threshold, pairing, again = measured.task.threshold, measured.pairing, measured.again
    levels = levels_of(name, budget)
    samples = measured.samples[COMPRESSED]
    generated = [sample for sample in samples if sample.finish_reason is not None]
    choices = measured.choices
    on_floor = [
        question
        for question in pairing.pairs
        if threshold.floor_questions is None or question.baseline.row < threshold.floor_questions
    ]
    flips = _excess(pairing, again, flipped, accepted=threshold.max_flips)
    # Each bound at the level of the verdict that it decides.
    low = _excess(pairing, again, flipped, accepted=threshold.max_flips, alpha=levels.of("max_flips")).low
    return TaskNumbers(
        name=name,
        counts=measured.counts,
        drop=measured.drop,
        chance=choices.chance if choices else 0.0,
        constant=choices.names[choices.right.index(choices.chance)] if choices else None,
        flips=replace(flips, low=low),
        floor_right=sum(bool(question.compressed.right) for question in on_floor),
        floor_n=len(on_floor),
        failed=sum(sample.error is not None for samples in measured.samples.values() for sample in samples),
        cut=sum(sample.finish_reason == "length" for sample in generated) if generated else None,
        generated=len(generated),
        faults=measured.faults,
        again=tuple(differs_again(again, comparisons=among)) if again else (),
    )


def _report(
    name: str,
    measured: _Measured,
    numbers: TaskNumbers,
    levels: Levels,
    arm_records: ArmRecords,
    *,
    mcnemar_p: float,
) -> TaskReport:
    task, counts, pairing, again = measured.task, measured.counts, measured.pairing, measured.again
    flips = numbers.flips or _excess(pairing, again, flipped)
    judged = judge_task(numbers, task.threshold, levels)
    record = arm_records[BASELINE]
    low, high = share_bounds(numbers.right, counts.n)
    floor = task.threshold.floor if task.threshold.floor_rule != "confident" and numbers.floor_n else None
    return TaskReport(
        n=counts.n,
        asked=measured.asked,
        planned=task.questions,
        baseline=_arm_score(measured, BASELINE, name, arm_records[BASELINE]),
        compressed=_arm_score(measured, COMPRESSED, name, arm_records[COMPRESSED]),
        paired=paired_report(pairing.pairs),
        noise=paired_report(again.pairs) if again else None,
        tests=Tests(
            drop=judged_drop(measured.drop) if measured.drop else None,
            mcnemar_p=mcnemar_p,
            floor_low=low,
            floor_high=high,
            floor_right=numbers.floor_right or 0,
            floor_n=numbers.floor_n,
            floor_chance=None if floor is None else chance_to_pass_floor(numbers.floor_n, floor),
            floor_miss=None
            if floor is None
            else false_alarm_of_floor(numbers.floor_n, numbers.baseline_right / counts.n, floor),
            excess_flips=flips.excess,
            excess_flips_low=flips.low,
            excess_flips_high=flips.high,
        ),
        warnings=[] if judged.verdict is Verdict.ERROR else _warnings(name, measured, numbers, mcnemar_p),
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        gates={
            key: Gate(verdict=gate.verdict, reasons=list(gate.reasons))
            for key, gate in judge_gates(numbers, task.threshold, levels).items()
        },
        choices=measured.choices,
        threshold=task.threshold,
        protocol=record.tasks[name].protocol if record and name in record.tasks else None,
    )


def _warnings(name: str, measured: _Measured, numbers: TaskNumbers, mcnemar_p: float) -> list[str]:
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
        missed_upstream(
            name,
            measured.task.threshold,
            right=numbers.floor_right or 0,
            n=numbers.floor_n,
            baseline=numbers.baseline_right / max(numbers.counts.n, 1),
        ),
    ]
    return [text for text in found if text]


def _excess(
    pairing: Pairing,
    again: Pairing | None,
    event: Callable[[Pair], bool],
    *,
    accepted: float | None = None,
    alpha: float = ALPHA,
) -> Excess:
    """Return how often something happens between the arms, beyond how often it does in the baseline by itself."""
    by_itself = {question.baseline.key: event(question) for question in again.pairs} if again else None
    both = [question for question in pairing.pairs if by_itself is None or question.baseline.key in by_itself]
    noise = None if by_itself is None else [by_itself[question.baseline.key] for question in both]
    return excess_flips([event(question) for question in both], noise, alpha, accepted=accepted)


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
