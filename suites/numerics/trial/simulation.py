"""Ranks without processes: all of them simulated in this one, for rank counts that no machine here has."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch

from harness.collective import simulate_all_reduce
from suites.numerics.cases.case import Message
from suites.numerics.trial.jobs import RankResult, reduce_messages
from suites.numerics.trial.subject import Subject
from suites.ranks.bits import same_bits
from suites.ranks.pool import Pool

T = TypeVar("T")

NEEDS_PROCESSES = frozenset({"bytes_on_the_wire", "layouts", "ranks_agree"})
"""Promises that say nothing about a simulation, which sends nothing and has one result."""


class Simulation(Pool):
    """Gives a trial of the bundled collective what a pool of processes would, by ``simulate_all_reduce``."""

    def run_each(self, job: Callable[..., T], arguments: Sequence[tuple[object, ...]]) -> list[T]:
        if job is not reduce_messages:
            raise ValueError(f"a simulation reduces messages, it doesn't run {job}")
        subject = cast("Subject", arguments[0][0])
        of_ranks = [cast("list[Message]", messages) for _, messages, *_ in arguments]
        finished = [self._reduce(subject, messages) for messages in zip(*of_ranks, strict=True)]
        results: list[Any] = [
            RankResult(
                out=kept.cpu(),
                input_changed=changed,
                result_changed=not same_bits(result, kept),
                sent=0.0,
                collectives=(),
            )
            for result, kept, changed in finished
        ]
        return [cast("T", results) for _ in arguments]

    def _reduce(self, subject: Subject, messages: Sequence[Message]) -> tuple[torch.Tensor, torch.Tensor, bool]:
        if subject.implementation is not None:
            raise ValueError(f"only the bundled collective can be simulated, not {subject}")
        values = torch.stack([message.values for message in messages])
        x = values.to(self.device)
        result = simulate_all_reduce(x, codec=subject.codec, algorithm=subject.algorithm)
        return result, result.clone(), not same_bits(x.cpu(), values)
