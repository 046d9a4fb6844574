"""The same bits everywhere and every time."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from harness.collective.bounds import sum_bound
from suites.numerics.cases.case import Case
from suites.numerics.promises.promise import promise
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial
from suites.ranks.bits import same_bits


def _plain_data(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp32"):
        yield Case(ranks=ranks, shape=(17, 192), dtype=dtype, data="uneven", seed=1)


def _single_precision(_subject: Subject, ranks: int) -> Iterator[Case]:
    yield Case(ranks=ranks, shape=(17, 192), dtype="fp32", data="uneven", seed=2)


@promise(_plain_data)
def ranks_agree(trial: Trial, case: Case) -> None:
    """Bitwise the same result on every rank: ranks that drift apart decode different tokens."""
    first, *others = trial.run(case)
    for rank, outcome in enumerate(others, start=1):
        if not same_bits(outcome.out, first.out):
            count = int((outcome.out != first.out).sum())
            trial.fail(case, f"rank {rank} differs from rank 0 in {count} of {first.out.numel()} elements")


@promise(_single_precision)
def repeatable(trial: Trial, case: Case) -> None:
    """The same call twice gives the same bits."""
    for rank, (first, second) in enumerate(trial.run_in_turn([case, case])):
        if not same_bits(first.out, second.out):
            trial.fail(case, f"rank {rank}: two calls with the same input give different bits")


@promise(_single_precision)
def fresh(trial: Trial, case: Case) -> None:
    """A second call of the same shape uses its own data, and leaves the first result alone."""
    other = replace(case, seed=case.seed + 100)
    outcomes = trial.run_in_turn([case, other])
    for rank, (first, _) in enumerate(outcomes):
        if first.result_changed:
            trial.fail(case, f"rank {rank}: the next call wrote to the result of the one before")
    trial.within_bound(other, [second for _, second in outcomes])


@promise(_plain_data)
def permuted(trial: Trial, case: Case) -> None:
    """Which rank holds which message makes no difference beyond fp32 rounding."""
    inputs = case.inputs()
    backwards = replace(case, data=f"{case.data}/reversed")
    out, turned = trial.run(case)[0].out, trial.run(backwards)[0].out
    info = torch.finfo(inputs.dtype)
    exact = inputs.double().sum(dim=0)
    slack = 2 * len(inputs) * 2.0**-24 * trial.subject.claimed.added_magnitude(inputs.double().abs().sum(dim=0))
    allowed = 2 * slack + info.eps * (exact.abs() + sum_bound(inputs, trial.subject.claimed))
    if trial.subject.algorithm == "two_shot":
        # A sum that lands on the other side of a rounding boundary is encoded one step further. What is
        # encoded there is the sum of messages encoded before, so the step is that of their bound's far end.
        known = sum_bound(inputs, trial.subject.claimed)
        allowed = 2 * trial.subject.claimed.error_bound(exact, inputs.dtype, known) + allowed
    if trial.subject.claimed.rounds_sum:
        allowed = allowed + info.eps * exact.abs()
    trial.near(case, 0, turned.double(), out.double(), allowed)


@promise(_single_precision)
def odd(trial: Trial, case: Case) -> None:
    """Negated inputs give the negated result: no grid point, such as -128, is there for one sign only."""
    negated = replace(case, data=f"{case.data}/negated")
    out, mirrored = trial.run(case)[0].out, trial.run(negated)[0].out
    if not torch.equal(out, -mirrored):
        index = (out != -mirrored).nonzero()[0].tolist()
        values = out[tuple(index)].item(), mirrored[tuple(index)].item()
        trial.fail(case, f"element {index}: f(x) = {values[0]}, but f(-x) = {values[1]}")
