"""What the pool's processes run."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor, distributed

from suites.numerics.cases.case import Message
from suites.numerics.trial.subject import Subject
from suites.ranks.bits import same_bits
from suites.ranks.traffic import Traffic


@dataclass(frozen=True)
class RankResult:
    """One rank's result for one case."""

    out: Tensor
    """The result, copied as soon as it was there."""
    input_changed: bool
    result_changed: bool
    """Whether a later call wrote to this result."""
    sent: float
    """Payload bytes, where traffic was counted."""
    collectives: tuple[str, ...]


def reduce_messages(
    rank: int, group: distributed.ProcessGroup, subject: Subject, messages: Sequence[Message], count: object
) -> list[RankResult]:
    """Reduces this rank's messages one after the other and keeps every result until the end.

    ``count`` says whether to count the traffic, which slows a call down. Results are on the CPU.
    """
    function = subject.load()
    finished = []
    for message in messages:
        x = message.tensor()
        traffic = Traffic(group)
        with traffic if count else nullcontext():
            result = function(x, group)
        if not isinstance(result, Tensor):
            raise TypeError(f"rank {rank}: expected a tensor, the function returned {type(result).__name__}")
        finished.append((result, result.clone(), not same_bits(x.cpu(), message.values), traffic))
    return [
        RankResult(
            out=kept.cpu(),
            input_changed=changed,
            result_changed=not same_bits(result, kept),
            sent=traffic.sent,
            collectives=tuple(traffic.collectives),
        )
        for result, kept, changed, traffic in finished
    ]
