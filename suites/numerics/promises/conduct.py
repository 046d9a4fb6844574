"""What a call leaves behind, and what it sends."""

from collections.abc import Iterator

from harness.collective import ring_bytes, wire_bytes
from suites.numerics.cases.case import DTYPES, Case
from suites.numerics.promises.promise import promise
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial


def _each_dtype(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp32"):
        yield Case(ranks=ranks, shape=(8, 128), dtype=dtype, seed=1)
    yield Case(ranks=ranks, shape=(8, 128), dtype="fp32", layout="strided", seed=2)


@promise(_each_dtype)
def input_untouched(trial: Trial, case: Case) -> None:
    """The input is the same, bit for bit, after the call."""
    for rank, outcome in enumerate(trial.run(case)):
        if outcome.input_changed:
            trial.fail(case, f"rank {rank}: the call wrote to its input")


def _sizes(_subject: Subject, ranks: int) -> Iterator[Case]:
    for shape in ((1, 64), (8, 67), (2, 3, 130), (64, 1024), (513, 128)):
        yield Case(ranks=ranks, shape=shape, seed=3)
    yield Case(ranks=ranks, shape=(8, 67), dtype="fp32", seed=3)


@promise(_sizes)
def bytes_on_the_wire(trial: Trial, case: Case) -> None:
    """Each rank sends exactly the bytes its codec and algorithm state, for every size."""
    subject = trial.subject
    shape, dtype = case.shape, DTYPES[case.dtype]
    expected = wire_bytes(shape, case.ranks, codec=subject.codec, algorithm=subject.algorithm, dtype=dtype)
    for rank, [outcome] in enumerate(trial.run_in_turn([case], count=True)):
        if not outcome.collectives:
            trial.fail(case, f"rank {rank}: nothing went through torch.distributed, so no bytes can be counted")
        if outcome.sent != expected:
            trial.fail(
                case,
                f"rank {rank} sent {outcome.sent:.0f} bytes by {', '.join(outcome.collectives)}; "
                f"{subject.codec} {subject.algorithm} sends {expected}, "
                f"a plain ring all-reduce {ring_bytes(shape, case.ranks, dtype):.0f}",
            )
