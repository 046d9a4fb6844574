"""A promise's view of its subject: run cases, judge results, and fail in words that can be run again."""

from typing import NoReturn

import torch
from torch import Tensor

from harness.collective.bounds import sum_bound
from suites.numerics.cases.case import Case
from suites.numerics.trial.jobs import RankResult, reduce_messages
from suites.numerics.trial.subject import Subject
from suites.ranks.pool import Pool, WorkerError


class ViolationError(AssertionError):
    """A subject broke a promise; the message names the case, the worst element and the command."""

    def __init__(self, message: str, *, crashed: bool = False) -> None:
        super().__init__(message)
        self.crashed = crashed


def over_bound(out: Tensor, exact: Tensor, bound: Tensor) -> Tensor:
    """``|out - exact| / bound``, element by element; infinite for what isn't a number."""
    ratio = ((out - exact).abs() / bound).nan_to_num(nan=torch.inf)
    # Zero over zero is an exact result where nothing else is allowed.
    ratio[(out == exact) & (bound == 0)] = 0
    return ratio


class Trial:
    """One promise of one subject on a pool of processes."""

    def __init__(self, pool: Pool, subject: Subject, promise: str) -> None:
        self.subject = subject
        self.promise = promise
        self._pool = pool

    def run(self, case: Case) -> list[RankResult]:
        """Reduces one case: a result per rank."""
        return [outcomes[0] for outcomes in self.run_in_turn([case])]

    def run_in_turn(self, cases: list[Case], *, count: bool = False) -> list[list[RankResult]]:
        """Reduces cases of one rank count back to back in the same processes: results per rank and case."""
        arguments = [
            (self.subject, [case.message(rank, self._pool.device) for case in cases], count)
            for rank in range(cases[0].ranks)
        ]
        try:
            return self._pool.run_each(reduce_messages, arguments)
        except WorkerError as error:
            self.fail(cases[0], f"the implementation failed:\n{error}", crashed=True)

    def within_bound(self, case: Case, outcomes: list[RankResult]) -> None:
        """Holds every rank's result to the claimed codec's and algorithm's pointwise bound."""
        inputs = case.inputs()
        exact = inputs.double().sum(dim=0)
        bound = sum_bound(inputs, self.subject.claimed, self.subject.algorithm)
        for rank, outcome in enumerate(outcomes):
            self.shaped_like_input(case, outcome, rank)
            self.near(case, rank, outcome.out.double(), exact, bound)

    def near(self, case: Case, rank: int, out: Tensor, exact: Tensor, bound: Tensor) -> None:
        """Fails where ``|out - exact| <= bound`` doesn't hold, naming the worst element."""
        if out.numel() == 0:
            return
        ratio = over_bound(out, exact, bound)
        if (worst := ratio.max().item()) <= 1:
            return
        flat = int(ratio.argmax())
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), out.shape))
        values = [tensor.flatten()[flat].item() for tensor in (out, exact, bound)]
        self.fail(
            case,
            f"rank {rank}, worst element {index}: got {values[0]:.9g}, exact {values[1]:.9g}, "
            f"error {abs(values[0] - values[1]):.4g}, bound {values[2]:.4g} ({worst:.3f} times the bound), "
            f"{int((ratio > 1).sum())} of {ratio.numel()} elements beyond it",
        )

    def shaped_like_input(self, case: Case, outcome: RankResult, rank: int) -> None:
        """Fails where a result has another shape or dtype than the input."""
        inputs, out = case.inputs(), outcome.out
        if out.shape != inputs.shape[1:] or out.dtype != inputs.dtype:
            self.fail(
                case,
                f"rank {rank}: the result is {out.dtype} of shape {tuple(out.shape)}, "
                f"the input {inputs.dtype} of shape {tuple(inputs.shape[1:])}",
            )

    def fail(self, case: Case, detail: str, *, crashed: bool = False) -> NoReturn:
        """Raises a ViolationError for this case."""
        device = "" if self._pool.device == "cpu" else f"--device {self._pool.device} "
        command = (
            f"python -m pytest suites/numerics/test_conformance.py {device}{self.subject.options} "
            f"--check {self.promise} --case '{case}'"
        )
        raise ViolationError(
            f"{self.promise}: {self.subject}\n"
            f"codec {self.subject.codec}, algorithm {self.subject.algorithm}, {case}\n"
            f"{detail}\nreproduce: {command}",
            crashed=crashed,
        )
