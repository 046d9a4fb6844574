"""The changed questions as the page shows them: prompt, target, and both answers side by side."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records.samples import Sample
from harness.report.changes import ChangedQuestion, Kind
from harness.report.texts import Cut, Side, alike, cut, question_of, short, side_by_side

# What one page holds; the samples' files hold all.
MOST_QUESTIONS = 200
PROMPT, ANSWER, TARGET, CHOICE, HEAD = 4_000, 3_000, 1_500, 200, 110
# A beginning that all prompts share is shown once where it is at least so long.
SHARED = 80


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One scored choice.

    Attributes:
        text: The choice.
        right: Whether it is the right one.
        chosen: Whether the baseline chose it, and the compressed arm.
        logprobs: Its natural log-probability in both arms; None where the request failed.
    """

    text: str
    right: bool
    chosen: tuple[bool, bool]
    logprobs: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Card:
    """One changed question.

    Attributes:
        anchor: Its place in the page.
        changed: What changed.
        head: The end of its prompt in a line: the question itself, as tasks put it last.
        prompt: Its prompt less what all share; None where the run kept none.
        target: The right answer.
        sides: Both generated texts, or why there is none; None for scored choices.
        answers: Both answers as the filter reads them.
        choices: The scored choices; none for generated answers.
    """

    anchor: str
    changed: ChangedQuestion
    head: str
    prompt: Cut | None
    target: Cut
    sides: tuple[Side, Side] | None
    answers: tuple[str, str]
    choices: list[Choice]


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """One task's prompts.

    Attributes:
        shared: How all of them begin; empty for nothing that is worth showing once.
        by_number: All of them; none where the run kept none.
        problem: Why they cannot be read; empty where they can.
    """

    shared: str
    by_number: Mapping[int, str]
    problem: str = ""


def prompts(by_number: Mapping[int, str], problem: str = "") -> Prompts:
    """Return a task's prompts with what they share apart, which ends with a line."""
    # What the first and the last of them in order have in common, all have.
    first, last = (min(by_number.values()), max(by_number.values())) if len(by_number) > 1 else ("", "")
    shared = first[: alike(first, last)]
    shared = shared[: shared.rfind("\n") + 1]
    return Prompts(shared=shared if len(shared) >= SHARED else "", by_number=by_number, problem=problem)


def anchor(tasks: Sequence[str], task: str, number: int) -> str:
    """Return a question's place in the page; a task's name may hold anything."""
    return f"q-{tasks.index(task)}-{number}"


def cards(found: Sequence[ChangedQuestion], of_task: Mapping[str, Prompts]) -> list[Card]:
    """Return the first of the changed questions, as many as a page holds."""
    tasks = list(of_task)
    return [
        _card(entry, of_task[entry.task], anchor(tasks, entry.task, entry.number)) for entry in found[:MOST_QUESTIONS]
    ]


def counts(found: Sequence[ChangedQuestion]) -> dict[Kind, int]:
    """Return how many questions there are of each kind."""
    counted = Counter(entry.kind for entry in found)
    return {kind: counted[kind] for kind in Kind if counted[kind]}


def _card(entry: ChangedQuestion, task: Prompts, place: str) -> Card:
    before, after = entry.baseline, entry.compressed
    prompt = task.by_number.get(entry.number)
    own = None if prompt is None else prompt[len(task.shared) :]
    scored = (before.choices or after.choices) is not None and entry.kind is not Kind.FAILED
    return Card(
        anchor=place,
        changed=entry,
        head="" if own is None else short(question_of(own), HEAD),
        prompt=None if own is None else cut(own, PROMPT),
        target=cut(before.target, TARGET),
        sides=None if scored else side_by_side(_said(before), _said(after), limit=ANSWER),
        answers=(_answer(before), _answer(after)),
        choices=_choices(before, after) if scored else [],
    )


def _said(sample: Sample) -> str:
    return sample.error if sample.error is not None else sample.text or ""


def _answer(sample: Sample) -> str:
    return "no answer" if sample.answer is None else short(sample.answer, CHOICE)


def _choices(before: Sample, after: Sample) -> list[Choice]:
    names = before.choices or after.choices or []
    pairs = (
        list(zip(before.logprobs, after.logprobs, strict=False))
        if before.logprobs is not None and after.logprobs is not None
        else []
    )
    return [
        Choice(
            text=short(name, CHOICE),
            right=name == before.target,
            chosen=(name == before.answer, name == after.answer),
            logprobs=pairs[number] if number < len(pairs) else None,
        )
        for number, name in enumerate(names)
    ]
