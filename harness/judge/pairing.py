"""Both arms' results, paired question by question."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.records.samples import Sample
from harness.stats import PairedCounts
from harness.stats.clusters import design_effect


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


def paired_counts(pairing: Pairing) -> PairedCounts:
    """Return the four-fold table of a pairing, and how much its questions say that share clusters."""
    return counts_of(pairing.pairs)


def counts_of(pairs: Sequence[Pair]) -> PairedCounts:
    """Return the same of pairs, also of several tasks: a task's clusters are its own."""
    table = [(bool(question.baseline.right), bool(question.compressed.right)) for question in pairs]
    differences = [after - before for before, after in table]
    clusters = [
        (sample.task, sample.cluster or sample.doc_id) for sample in (question.baseline for question in pairs)
    ]
    return PairedCounts(
        both_right=table.count((True, True)),
        baseline_only=table.count((True, False)),
        compressed_only=table.count((False, True)),
        both_wrong=table.count((False, False)),
        design_effect=design_effect(differences, clusters),
    )


def flipped(question: Pair) -> bool:
    """Return whether a question turned from right to wrong or back."""
    return question.baseline.right != question.compressed.right


def changed(question: Pair) -> bool:
    """Return whether the answer changed, right or wrong."""
    return question.baseline.answer != question.compressed.answer


def margin(sample: Sample) -> float | None:
    """Return logp(right choice) - logp(best wrong choice) of a scored sample, in nats; None for a generated one."""
    if sample.choices is None or sample.logprobs is None:
        return None
    right = sample.choices.index(sample.target)
    return sample.logprobs[right] - max(logprob for index, logprob in enumerate(sample.logprobs) if index != right)


def margin_shifts(pairs: Iterable[Pair]) -> list[float]:
    """Return how the margin of each scored question moved, in nats."""
    margins = [(margin(question.baseline), margin(question.compressed)) for question in pairs]
    return [after - before for before, after in margins if before is not None and after is not None]
