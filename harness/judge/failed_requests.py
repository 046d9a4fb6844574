"""What failed requests leave of a verdict: they are put at their worst and at their best, and judged both ways.

One failed request makes a task an ERROR, which must not hide that the rest is harm enough. At the worst for
compression, a question without an answer was right in the baseline and wrong in the compressed arm; at the best, the
reverse. A verdict that is the same both ways stands.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import HarnessError
from harness.judge.results import PooledReport, TaskReport
from harness.judge.verdict import Judged, Verdict
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED
from harness.records.predictions import read_compared
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample, read_samples, write_samples

Reports = dict[str, TaskReport]
Key = tuple[str, str, int]


def settle(
    folder: RunFolder, judge: Callable[[RunFolder], tuple[Reports, PooledReport | None]]
) -> tuple[Reports, PooledReport | None]:
    """Return the tasks' reports, those with failed requests judged again with these at their worst and best.

    Args:
        folder: The run's folder.
        judge: Judges all tasks, and all together, by the samples in a folder.
    """
    reports, pooled = judge(folder)
    samples = {
        name: found
        for name, report in reports.items()
        if report.verdict == Verdict.ERROR
        and (found := _samples(folder, name, report.threshold.filter))
        and _failed(found)
    }
    if not samples:
        return reports, pooled
    with TemporaryDirectory() as room:
        (worst, pooled_worst), (best, pooled_best) = (
            judge(_filled(folder, Path(room) / how, reports, samples, at_worst=how == "worst"))
            for how in ("worst", "best")
        )
    if pooled_worst and pooled_best and pooled_worst.verdict == pooled_best.verdict:
        pooled = pooled_worst
    settled = {name: _settled(name, reports[name], worst[name], best[name], found) for name, found in samples.items()}
    return reports | settled, pooled


def texts_without_numbers(folder: RunFolder) -> list[Judged]:
    """Return the finding that the compressed arm gives no numbers for fixed texts for which the baseline does."""
    try:
        lines = read_compared(folder.arm(COMPRESSED).compared)
    except HarnessError:
        return []
    harmed = [line.not_measured for line in lines.values() if line.no_numbers]
    return [_no_numbers("fidelity", "texts", harmed, len(lines))] if harmed else []


def filled(samples: Mapping[str, Sequence[Sample]], *, at_worst: bool) -> dict[str, list[Sample]]:
    """Return each arm's samples with the failed ones answered, at the worst for compression or at the best.

    An arm that answered without numbers where the other gave some is wrong either way: that is its answer. What the
    baseline, started again, failed to answer it is taken to answer as it did before: nothing changes by itself.
    """
    answered = {arm: {sample.key: sample for sample in found} for arm, found in samples.items()}
    return {
        arm: [
            sample if sample.error is None else _answered(sample, arm, answered, at_worst=at_worst)
            for sample in found
        ]
        for arm, found in samples.items()
    }


def _answered(sample: Sample, arm: str, samples: Mapping[str, Mapping[Key, Sample]], *, at_worst: bool) -> Sample:
    before = samples.get(BASELINE, {}).get(sample.key)
    if arm == AGAIN and before is not None and before.error is None:
        return before
    broken = arm == COMPRESSED and sample.gives_no_numbers
    right = (arm != COMPRESSED) == at_worst and not broken
    # Of another arm's answer only what does not depend on the arm: pairs are of the same prompt, and of one kind.
    other = next(
        (found for arms in samples.values() if (found := arms.get(sample.key)) is not None and found.error is None),
        None,
    )
    generated = other is None or other.finish_reason is not None
    choices = other.choices if other else None
    wrong = next((choice for choice in choices or () if choice != sample.target), f"not {sample.target}")
    return sample.model_copy(
        update={
            "error": None,
            "right": right,
            "answer": sample.target if right else wrong,
            "choices": choices,
            "prompt_hash": other.prompt_hash if other else "",
            "finish_reason": ("length" if at_worst and arm == COMPRESSED else "stop") if generated else None,
        }
    )


def _filled(
    folder: RunFolder,
    room: Path,
    reports: Reports,
    samples: Mapping[str, dict[str, list[Sample]]],
    *,
    at_worst: bool,
) -> RunFolder:
    """Write a folder with the samples of all tasks, those of failed requests answered."""
    target = RunFolder(room)
    for task, report in reports.items():
        found = samples.get(task) or _samples(folder, task, report.threshold.filter)
        for arm, answered in filled(found, at_worst=at_worst).items():
            target.arm(arm).path.mkdir(parents=True, exist_ok=True)
            write_samples(target.arm(arm).samples(task), answered)
    return target


def _settled(
    name: str, report: TaskReport, worst: TaskReport, best: TaskReport, samples: Mapping[str, Sequence[Sample]]
) -> TaskReport:
    failed = _failed(samples)
    first = f"{name}: {len(failed)} requests failed, the first of document {failed[0].doc_id}: {failed[0].error}"
    numbers = {
        arm: {sample.key: sample.error for sample in found if sample.gives_no_numbers}
        for arm, found in samples.items()
    }
    fit = {sample.key for sample in samples.get(BASELINE, ()) if sample.error is None}
    harmed = [str(error) for key, error in numbers.get(COMPRESSED, {}).items() if key in fit]
    if harmed:
        finding = _no_numbers(name, "questions", harmed, len(fit | numbers.get(BASELINE, {}).keys()))
        also = [text for text in worst.reasons if worst.verdict == best.verdict == Verdict.FAIL]
        return report.model_copy(update={"verdict": Verdict.FAIL.value, "reasons": [*finding.reasons, *also]})
    if numbers.get(BASELINE):
        text = f"{name}: the baseline gives no numbers: the model or its settings are broken, before any compression"
        return report.model_copy(update={"reasons": [text, first]})
    if worst.verdict != best.verdict:
        why = (
            f"{first}; judged with failed requests at their worst for compression the verdict were {worst.verdict}, "
            f"at their best {best.verdict}"
        )
        return report.model_copy(update={"reasons": [why]})
    # Where nothing is judged, or nothing was answered, there is no verdict that could stand.
    if worst.verdict in (Verdict.ERROR, Verdict.REPORTED) or not report.n:
        return report.model_copy(update={"reasons": list(dict.fromkeys((*report.reasons, first)))})
    stands = f"{first}; the verdict is {worst.verdict} whatever their answers would have been"
    return report.model_copy(
        update={
            "verdict": worst.verdict,
            "reasons": [f"{reason} (failed requests at their worst)" for reason in worst.reasons],
            "warnings": [*report.warnings, stands],
        }
    )


def _no_numbers(name: str, unit: str, harmed: Sequence[str], of: int) -> Judged:
    text = (
        f"{name}: the compressed arm gives no numbers for {len(harmed)} of {of} {unit} for which the baseline does; "
        f"{harmed[0]}"
    )
    return Judged(verdict=Verdict.FAIL, reasons=(text,))


def _samples(folder: RunFolder, task: str, filter_: str) -> dict[str, list[Sample]]:
    """Return the samples of one filter, of each arm that has any; of none where a file is broken."""
    found = {}
    for arm in sorted(path.name for path in folder.path.iterdir() if path.is_dir()):
        file = folder.arm(arm).samples(task)
        if file.exists():
            try:
                found[arm] = [sample for sample in read_samples(file) if sample.filter == filter_]
            except HarnessError:
                return {}
    return found


def _failed(samples: Mapping[str, Sequence[Sample]]) -> list[Sample]:
    return [sample for found in samples.values() for sample in found if sample.error is not None]
