"""One question's result in one arm, its file form, and the pairing of both arms' results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.records import read_lines, write_lines
from harness.yaml_file import Strict


class Sample(Strict):
    """One question, answered or failed, in one arm, as one filter of its task reads the answer.

    Attributes:
        task: The task.
        filter: lm-eval's filter that read the answer.
        doc_id: The question's number within the task's scored documents.
        doc_hash: Hash of the document (SHA-256, lm-eval's).
        prompt_hash: SHA-256 of the token ids that were sent.
        prompt_tokens: How many those are.
        first_tokens: The first few of them: here BOS is or is not.
        target: The right answer.
        answer: The answer as the filter reads it, or the chosen choice; None where the request failed.
        right: Whether it is right; None where the request failed.
        choices: The scored choices, or None for a generated answer.
        logprobs: Their natural log-probabilities, in the same order.
        text: The generated text, or None for scored choices.
        generated_tokens: Tokens generated.
        finish_reason: `stop` or `length`, for a generated answer.
        error: Why the request failed, or None.
    """

    task: str
    filter: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    prompt_tokens: int
    first_tokens: list[int]
    target: str
    answer: str | None
    right: bool | None
    choices: list[str] | None = None
    logprobs: list[float] | None = None
    text: str | None = None
    generated_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What a sample is paired by: task, filter and document."""
        return (self.task, self.filter, self.doc_id)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same question in both arms, answered in both."""

    baseline: Sample
    compressed: Sample


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """All pairs of one task and filter, and what could not be paired.

    Attributes:
        pairs: Questions answered in both arms, by document number.
        failed: Questions whose request failed in either arm.
        faults: Why the arms are not comparable; empty where they are.
    """

    pairs: tuple[Pair, ...]
    failed: tuple[Sample, ...]
    faults: tuple[str, ...]


def counted(samples: Iterable[Sample], filter_: str, asked: int) -> list[Sample]:
    """Return what a report counts of an arm's samples: one filter's, of the questions asked of the arm under test.

    A baseline that was asked first was asked everything, also where the other arm ended early.
    """
    return [sample for sample in samples if sample.filter == filter_ and sample.doc_id < asked]


def pair(
    baseline: Sequence[Sample],
    compressed: Sequence[Sample],
    *,
    names: tuple[str, str] = ("baseline", "compressed"),
) -> Pairing:
    """Pair two arms' samples of one task and filter by document, checking that they saw the same prompt.

    Args:
        baseline: The baseline arm's samples.
        compressed: The other arm's samples.
        names: What the two arms are called in faults.
    """
    ours = {sample.key: sample for sample in baseline}
    theirs = {sample.key: sample for sample in compressed}
    faults: list[str] = []
    for arm, samples, found in ((names[0], baseline, ours), (names[1], compressed, theirs)):
        if len(found) < len(samples):
            faults.append(f"{len(samples) - len(found)} questions stand twice in the {arm} arm")
    if only := sorted(ours.keys() ^ theirs.keys()):
        faults.append(f"{len(only)} questions are in one arm only, the first is document {only[0][2]}")
    pairs: list[Pair] = []
    failed: list[Sample] = []
    for key in sorted(ours.keys() & theirs.keys()):
        here, there = ours[key], theirs[key]
        if (here.doc_hash, here.target) != (there.doc_hash, there.target):
            faults.append(f"document {here.doc_id} differs between the arms")
        broken = [sample for sample in (here, there) if sample.error is not None]
        if broken:
            failed += broken
        elif here.prompt_hash != there.prompt_hash:
            faults.append(f"the prompt of document {here.doc_id} differs between the arms")
        else:
            pairs.append(Pair(baseline=here, compressed=there))
    return Pairing(pairs=tuple(pairs), failed=tuple(failed), faults=tuple(faults))


def sample_file(folder: Path, task: str) -> Path:
    """Return where an arm's samples of a task are kept."""
    return folder / f"samples-{task}.jsonl"


def write_samples(file: Path, samples: Iterable[Sample]) -> None:
    """Write one sample a line.

    Raises:
        OSError: The file cannot be written.
    """
    write_lines(file, samples)


def read_samples(file: Path) -> list[Sample]:
    """Read what `write_samples` wrote.

    Raises:
        HarnessError: The file is missing, or a line is not a sample.
    """
    return read_lines(file, Sample, "a sample")
