"""Every element within its bound, on every rank."""

from collections.abc import Iterator

from suites.numerics.cases.case import Case
from suites.numerics.promises.promise import promise
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial


def _hard_data(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp16", "fp32"):
        yield Case(ranks=ranks, shape=(7, 1024), dtype=dtype, seed=1)
    yield Case(ranks=ranks, shape=(33, 160), dtype="fp32", data="uneven", seed=2)
    yield Case(ranks=ranks, shape=(5, 576), dtype="fp32", data="columns", seed=3)
    yield Case(ranks=ranks, shape=(4, 512), data="spikes:100", seed=4)


@promise(_hard_data)
def pointwise_bound(trial: Trial, case: Case) -> None:
    """|error| <= the sum of the ranks' encoding bounds, of adding in fp32 and of one rounding."""
    trial.within_bound(case, trial.run(case))


def _cancelling(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp32"):
        yield Case(ranks=ranks, shape=(16, 512), dtype=dtype, data="cancellation", seed=4)


@promise(_cancelling)
def cancellation(trial: Trial, case: Case) -> None:
    """Ranks that nearly cancel: the same pointwise bound, since a relative error means nothing here."""
    trial.within_bound(case, trial.run(case))


def _alone(_subject: Subject, ranks: int) -> Iterator[Case]:
    for rank in sorted({0, ranks // 2, ranks - 1}):
        yield Case(ranks=ranks, shape=(16, 512), dtype="fp32", data=f"one_hot:{rank}", seed=5 + rank)


@promise(_alone)
def one_rank_alone(trial: Trial, case: Case) -> None:
    """One rank's contribution arrives whole, and its error isn't averaged with others'."""
    trial.within_bound(case, trial.run(case))


def _traps(_subject: Subject, ranks: int) -> Iterator[Case]:
    yield Case(ranks=ranks, shape=(16, 64), data="bf16_traps", seed=6)


@promise(_traps)
def bf16_arithmetic(trial: Trial, case: Case) -> None:
    """Inputs for which scales or products in bf16 err by 1.4 steps, where half a step is claimed."""
    trial.within_bound(case, trial.run(case))
