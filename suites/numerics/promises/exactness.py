"""Inputs whose result is known to the last bit."""

from collections.abc import Iterator

import torch

from harness.collective import simulate_all_reduce
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3
from harness.collective.codecs.scaled import ScaledCodec
from suites.numerics.cases.case import Case
from suites.numerics.promises.promise import promise
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial


def _largest(subject: Subject) -> int | None:
    """The grid's largest value, None for codecs that have no grid of their own."""
    return int(subject.claimed.largest) if isinstance(subject.claimed, ScaledCodec) else None


def _representable(subject: Subject, ranks: int) -> Iterator[Case]:
    largest = _largest(subject)
    if largest is None:
        return
    if not isinstance(subject.claimed, Fp8E4m3):  # the sum of two numbers on that grid isn't on it
        for dtype in ("bf16", "fp32"):
            yield Case(ranks=ranks, shape=(9, 160), dtype=dtype, data=f"exact:{largest}", seed=1)
    if subject.algorithm == "one_shot":
        for dtype in ("bf16", "fp16"):
            yield Case(ranks=ranks, shape=(9, 160), dtype=dtype, data=f"exact_rounded:{largest}", seed=2)


@promise(_representable)
def representable(trial: Trial, case: Case) -> None:
    """What the grid holds exactly is summed exactly, and rounded once to the dtype."""
    inputs = case.inputs()
    expected = inputs.double().sum(dim=0).to(inputs.dtype)
    for rank, outcome in enumerate(trial.run(case)):
        if not torch.equal(outcome.out, expected):
            index = (outcome.out != expected).nonzero()[0].tolist()
            got, wanted = outcome.out[tuple(index)].item(), expected[tuple(index)].item()
            trial.fail(case, f"rank {rank}: element {index} is {got}, exactly representable as {wanted}")


def _ties(subject: Subject, ranks: int) -> Iterator[Case]:
    if (largest := _largest(subject)) is not None:
        yield Case(ranks=ranks, shape=(9, 160), dtype="fp32", data=f"ties:{largest}", seed=3)


@promise(_ties)
def ties_to_even(trial: Trial, case: Case) -> None:
    """Half-way between two grid points, the even one is taken."""
    expected = simulate_all_reduce(
        case.inputs(), codec=trial.subject.codec, algorithm=trial.subject.algorithm, backend="eager"
    )
    for rank, outcome in enumerate(trial.run(case)):
        if not torch.equal(outcome.out, expected):
            index = (outcome.out != expected).nonzero()[0].tolist()
            got, wanted = outcome.out[tuple(index)].item(), expected[tuple(index)].item()
            trial.fail(case, f"rank {rank}: element {index} became {got}, ties go to the even one, {wanted}")
