"""The questions whose answers changed, those that were lost first: what a reviewer looks at."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from harness.errors import HarnessError
from harness.judge.pairing import changed, counted, margin, pair
from harness.judge.results import TaskReport
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED
from harness.records.questions import read_prompts
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample, read_samples
from harness.report.model import Report
from harness.report.texts import question_of


class Kind(StrEnum):
    """What became of a question; in the order in which they are shown."""

    LOST = "lost"
    FAILED = "failed"
    WON = "won"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class ChangedQuestion:
    """One question of which the arms differ, or whose request failed.

    Attributes:
        task: Its task.
        kind: LOST: right in the baseline alone. WON: right in the compressed arm alone. OTHER: another answer, as
            right or wrong as before. FAILED: no answer in one arm, or in both.
        baseline: The baseline's sample.
        compressed: The compressed arm's.
        by_itself: Whether the baseline, started again, gave another answer too; None where that was not asked.
    """

    task: str
    kind: Kind
    baseline: Sample
    compressed: Sample
    by_itself: bool | None

    @property
    def number(self) -> int:
        """Its number in the order of asking."""
        return self.baseline.doc_id

    @property
    def margins(self) -> tuple[float, float] | None:
        """Its margin in the baseline and in the compressed arm, nats; None for generated answers."""
        before, after = margin(self.baseline), margin(self.compressed)
        return None if before is None or after is None else (before, after)


def changed_questions(report: Report, folder: RunFolder) -> list[ChangedQuestion]:
    """Return a run's changed questions: by kind, then by task, then those whose margin fell farthest.

    Args:
        report: The run's report.
        folder: Its folder, whose samples hold the answers. Samples that cannot be read are left out: the report says
            so itself, with the file and the line.
    """
    found = [entry for name, task in report.tasks.items() for entry in _changed(name, task, folder)]
    kinds, tasks = list(Kind), list(report.tasks)
    return sorted(found, key=lambda entry: (kinds.index(entry.kind), tasks.index(entry.task), _moved(entry)))


def samples_of(folder: RunFolder, arm: str, name: str, task: TaskReport) -> list[Sample]:
    """Return what the report counts of an arm's samples; none where they cannot be read."""
    try:
        return counted(read_samples(folder.arm(arm).samples(name)), task.threshold.filter, task.asked)
    except HarnessError:
        return []


def asked_in(folder: RunFolder, entry: ChangedQuestion) -> str:
    """Return what a question asks, in its own words; empty where the run kept no prompts that can be read."""
    try:
        return question_of(read_prompts(folder.questions(entry.task)).get(entry.number, ""))
    except HarnessError:
        return ""


def _changed(name: str, task: TaskReport, folder: RunFolder) -> Iterator[ChangedQuestion]:
    arms = {arm: samples_of(folder, arm, name, task) for arm in (BASELINE, COMPRESSED, AGAIN)}
    again = {sample.doc_id: sample.answer for sample in arms[AGAIN]}
    pairing = pair(arms[BASELINE], arms[COMPRESSED])
    both = [(question.baseline, question.compressed) for question in pairing.pairs if changed(question)]
    broken = {sample.doc_id for sample in pairing.failed}
    there = {sample.doc_id: sample for sample in arms[COMPRESSED] if sample.doc_id in broken}
    both += [(sample, there[sample.doc_id]) for sample in arms[BASELINE] if sample.doc_id in there]
    for before, after in both:
        turned = again[before.doc_id] != before.answer if before.doc_id in again else None
        yield ChangedQuestion(
            task=name, kind=_kind(before, after), baseline=before, compressed=after, by_itself=turned
        )


def _kind(before: Sample, after: Sample) -> Kind:
    if before.error is not None or after.error is not None:
        return Kind.FAILED
    if before.right == after.right:
        return Kind.OTHER
    return Kind.LOST if before.right else Kind.WON


def _moved(entry: ChangedQuestion) -> tuple[float, int]:
    margins = entry.margins
    shift = margins[1] - margins[0] if margins is not None else 0.0
    return shift if isfinite(shift) else 0.0, entry.number
