"""What the pool's processes run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from suites.numerics.case import Case
from suites.numerics.subject import Subject
from suites.numerics.traffic import Traffic


@dataclass(frozen=True)
class Outcome:
    """One rank's result for one case."""

    out: Tensor
    """The result, copied as soon as it was there."""
    input_changed: bool
    result_changed: bool
    """Whether a later call wrote to this result."""
    sent: float
    """Payload bytes, where traffic was counted."""
    collectives: tuple[str, ...]


def bits(x: Tensor) -> Tensor:
    """A tensor's bits, so that a NaN equals itself and -0.0 differs from 0.0."""
    return x.contiguous().view(torch.int16 if x.dtype.itemsize == 2 else torch.int32)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether shape, dtype and every bit agree."""
    return a.dtype == b.dtype and torch.equal(bits(a), bits(b))


def reduce_cases(
    rank: int, group: distributed.ProcessGroup, subject: Subject, cases: Sequence[Case], *, count: bool
) -> list[Outcome]:
    """Reduces the cases one after the other and keeps every result until the end."""
    function = subject.load()
    finished = []
    for case in cases:
        message = case.message(rank)
        before = message.clone()
        traffic = Traffic(group)
        if count:
            with traffic:
                result = function(message, group)
        else:
            result = function(message, group)
        if not isinstance(result, Tensor):
            raise TypeError(f"expected a tensor, the implementation returned {type(result).__name__}")
        finished.append((result, result.clone(), not same_bits(message, before), traffic))
    return [
        Outcome(
            out=kept,
            input_changed=changed,
            result_changed=not same_bits(result, kept),
            sent=traffic.sent,
            collectives=tuple(traffic.collectives),
        )
        for result, kept, changed, traffic in finished
    ]


def reduce_counted(
    rank: int, group: distributed.ProcessGroup, subject: Subject, cases: Sequence[Case]
) -> list[Outcome]:
    """``reduce_cases`` with the traffic counted."""
    return reduce_cases(rank, group, subject, cases, count=True)


def reduce_uncounted(
    rank: int, group: distributed.ProcessGroup, subject: Subject, cases: Sequence[Case]
) -> list[Outcome]:
    """``reduce_cases`` at its plain speed."""
    return reduce_cases(rank, group, subject, cases, count=False)
