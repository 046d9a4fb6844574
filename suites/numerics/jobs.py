"""What the pool's processes run."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from suites.numerics.case import Message
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


def reduce_messages(
    rank: int, group: distributed.ProcessGroup, subject: Subject, messages: Sequence[Message], count: object
) -> list[Outcome]:
    """Reduces this rank's messages one after the other and keeps every result until the end.

    ``count`` says whether to count the traffic, which slows a call down. Outcomes are on the CPU.
    """
    function = subject.load()
    finished = []
    for one in messages:
        message = one.tensor()
        traffic = Traffic(group)
        with traffic if count else nullcontext():
            result = function(message, group)
        if not isinstance(result, Tensor):
            raise TypeError(f"rank {rank}: expected a tensor, the function returned {type(result).__name__}")
        finished.append((result, result.clone(), not same_bits(message.cpu(), one.values), traffic))
    return [
        Outcome(
            out=kept.cpu(),
            input_changed=changed,
            result_changed=not same_bits(result, kept),
            sent=traffic.sent,
            collectives=tuple(traffic.collectives),
        )
        for result, kept, changed, traffic in finished
    ]
