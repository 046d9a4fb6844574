"""Zeros, extremes, NaNs and odd shapes."""

from collections.abc import Iterator

import torch

from suites.numerics.cases.case import Case
from suites.numerics.promises.promise import promise
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial


def _zeros(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp32"):
        yield Case(ranks=ranks, shape=(9, 96), dtype=dtype, data="zeros", seed=1)


@promise(_zeros)
def zero_rows(trial: Trial, case: Case) -> None:
    """Tokens that are zero on every rank stay exactly zero; zero on one rank harms nothing."""
    outcomes = trial.run(case)
    trial.within_bound(case, outcomes)
    silent = (case.inputs() == 0).all(dim=0)
    for rank, outcome in enumerate(outcomes):
        if (outcome.out[silent] != 0).any():
            trial.fail(case, f"rank {rank}: an element that is zero on every rank is not zero in the sum")


def _amplitudes(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp16", "fp32"):
        yield Case(ranks=ranks, shape=(48, 64), dtype=dtype, data="amplitudes", seed=2)


@promise(_amplitudes)
def amplitudes(trial: Trial, case: Case) -> None:
    """The bound holds over the dtype's whole range, without overflow or fading."""
    trial.within_bound(case, trial.run(case))


def _nonfinite(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp16", "fp32"):
        yield Case(ranks=ranks, shape=(8, 130), dtype=dtype, data="nonfinite", seed=3)


@promise(_nonfinite)
def nonfinite(trial: Trial, case: Case) -> None:
    """A NaN or infinity on one rank shows on every rank, in its own token and in no other."""
    inputs = case.inputs()
    broken = ~inputs.isfinite()
    affected = broken.any(dim=-1).any(dim=0)
    healthy = Case(ranks=case.ranks, shape=case.shape, dtype=case.dtype, data="gaussian", seed=case.seed)
    for rank, outcome in enumerate(outcomes := trial.run(case)):
        trial.shaped_like_input(case, outcome, rank)
        swallowed = broken.any(dim=0) & outcome.out.isfinite()
        if swallowed.any():
            where = swallowed.nonzero()[0].tolist()
            value = outcome.out[tuple(where)].item()
            trial.fail(case, f"rank {rank}: element {where} is {value}, though an input there isn't finite")
        spread = ~outcome.out[~affected].isfinite()
        if spread.any():
            tokens = spread.any(dim=-1).nonzero().flatten().tolist()
            trial.fail(case, f"rank {rank}: healthy tokens {tokens} (counting healthy ones) aren't finite")
    if trial.subject.claimed.spared_rows:
        return  # which tokens are spared depends on all of them
    # The same data without the intruders: tokens that hold none must come out the same.
    for rank, (outcome, other) in enumerate(zip(outcomes, trial.run(healthy), strict=True)):
        if not torch.equal(outcome.out[~affected], other.out[~affected]):
            trial.fail(case, f"rank {rank}: a token changed because another one isn't finite")


_OTHER_RANKS: tuple[tuple[int, ...], ...] = ((64,), (2, 3, 64), (1, 7, 67), (2, 1, 3, 130), (3, 0, 64))
"""Tensors that aren't matrices."""


def _shapes(_subject: Subject, ranks: int) -> Iterator[Case]:
    for tokens, width in (
        (0, 64),
        (1, 1),
        (1, 1024),
        (7, 67),
        (3, 5120),
        (2, 8193),
        (129, 33),
        (ranks - 1, 64),
    ):
        yield Case(ranks=ranks, shape=(tokens, width), seed=4)
    for shape in _OTHER_RANKS:
        yield Case(ranks=ranks, shape=shape, dtype="fp32", data="gaussian", seed=5)
    yield Case(ranks=ranks, shape=(2049, 64), data="uneven", seed=6)


@promise(_shapes)
def shapes(trial: Trial, case: Case) -> None:
    """Any leading shape, width and number of tokens, fewer than ranks too."""
    trial.within_bound(case, trial.run(case))


def _layouts(_subject: Subject, ranks: int) -> Iterator[Case]:
    # A kernel's compiler goes other ways for a width that 16 divides.
    for layout, dtype, width in (
        ("transposed", "bf16", 67),
        ("transposed", "bf16", 192),
        ("strided", "fp32", 67),
        ("offset", "bf16", 67),
        ("strided", "fp16", 67),
    ):
        yield Case(ranks=ranks, shape=(12, width), dtype=dtype, layout=layout, seed=7)


@promise(_layouts)
def layouts(trial: Trial, case: Case) -> None:
    """Inputs with any strides."""
    trial.within_bound(case, trial.run(case))
