"""Any two runs side by side: their figures, what differs in what they depend on, and the questions that differ."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from harness.errors import HarnessError
from harness.history.record import Figure, RunMemory, Series
from harness.history.show import count, order, plain, text
from harness.history.suspects import differences
from harness.plan.plan import Plan
from harness.records.predictions import FIDELITY
from harness.records.run import read_record
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample, read_samples
from harness.safety import harmless

SHOWN = 10
# What a shown answer is cut to.
LETTERS = 60


@dataclass(frozen=True, kw_only=True)
class Turned:
    """One question that is right in one run alone, or a text that moved.

    Attributes:
        number: Its place in the order of asking.
        name: The hash of its document.
        worse: Whether the second run is the wrong one.
    """

    number: int
    name: str
    worse: bool


def show_comparison(one: RunMemory, other: RunMemory, folders: tuple[RunFolder, RunFolder], console: Console) -> None:
    """Print two runs side by side, the second against the first.

    Args:
        one: The first.
        other: The second.
        folders: Theirs: answers are shown from their samples, as far as they are there.
        console: Where to.
    """

    def say(line: str) -> None:
        console.print(harmless(line), markup=False, highlight=False, soft_wrap=True)

    for label, run in (("first", one), ("second", other)):
        say(f"{label}: {run.run_id}: {run.verdict} {run.suite}, {run.model}, {run.variant}, {run.started}")
    if (one.model, one.variant) != (other.model, other.variant):
        say("they are of different models or compressions: their figures are no trend")
    console.print(_figures(one, other))
    found = differences(one.facts, other.facts)
    say(f"what they depend on: {count(len(found), 'difference')}" if found else "what they depend on: no difference")
    for difference in found:
        say(f"  {difference}")
    for series in one.series:
        beside = next((its for its in other.series if (its.task, its.name) == (series.task, series.name)), None)
        if series.task != FIDELITY and beside is not None:
            for line in _questions(one, series, beside, folders):
                say(line)


def _figures(one: RunMemory, other: RunMemory) -> Table:
    table = Table(title="Figures", title_justify="left")
    for name in ("figure", "first", "second", "change"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    ours, theirs = ({(figure.task, figure.name): figure for figure in run.figures} for run in (one, other))
    for key in sorted({**theirs, **ours}, key=lambda key: order({**theirs, **ours}[key])):
        here, there = ours.get(key), theirs.get(key)
        changed = _moved(here, there) if here and there else ""
        values = [text(its, its.value) if its else "-" for its in (here, there)]
        table.add_row(plain(" ".join(key)), *values, changed)
    return table


def _moved(one: Figure, other: Figure) -> str:
    moved = other.value - one.value
    return "same" if moved == 0 else f"{moved * 100:+.1f}" if one.name == "change" else f"{moved:+.4g}"


def turned(one: Series, other: Series, names: list[str]) -> list[Turned]:
    """Return the questions that are right in one of two runs alone, those lost first.

    Raises:
        HarnessError: They are not of the same questions.
    """
    if one.questions != other.questions:
        raise HarnessError("other questions were asked")
    pairs = enumerate(zip(names, one.values, other.values, strict=True))
    found = [
        Turned(number=number, name=name, worse=before > after)
        for number, (name, before, after) in pairs
        if before is not None and after is not None and before != after
    ]
    return sorted(found, key=lambda question: (not question.worse, question.number))


def _questions(one: RunMemory, ours: Series, theirs: Series, folders: tuple[RunFolder, RunFolder]) -> Iterator[str]:
    title = f"{ours.task} {ours.name}"
    try:
        found = turned(ours, theirs, one.questions[ours.questions].ids)
    except HarnessError as error:
        yield f"{title}: {error}"
        return
    lost = sum(question.worse for question in found)
    yield f"{title}: {lost} lost, {len(found) - lost} won of {len(ours.values)}"
    samples = [_samples(folder, series) for folder, series in zip(folders, (ours, theirs), strict=True)]
    for question in found[:SHOWN]:
        asked = [its.get(question.name) for its in samples]
        answers = [_cut(sample.answer) if sample else "not kept" for sample in asked]
        target = f", right is {_cut(asked[0].target)}" if asked[0] else ""
        said = "lost" if question.worse else "won"
        yield f"  {said}: question {question.number} ({question.name[:12]}): {' -> '.join(answers)}{target}"
    if (more := len(found) - SHOWN) > 0:
        yield f"  and {more} more"


def _samples(folder: RunFolder, series: Series) -> dict[str, Sample]:
    """Return an arm's answers by the hash of their document; none where they were pruned."""
    try:
        judged = read_record(folder.plan, Plan).tasks[series.task].threshold.filter
        found = read_samples(folder.arm(series.name).samples(series.task))
    except HarnessError:
        return {}
    return {sample.doc_hash: sample for sample in found if sample.filter == judged}


def _cut(answer: str | None) -> str:
    said = repr(harmless(answer or ""))
    return said if len(said) <= LETTERS else f"{said[:LETTERS]}…"
