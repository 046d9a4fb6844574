"""How long all-reduces take, side by side: every round times each of them once, in turn."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.implementation import load_implementation
from suites.ranks.pool import Pool
from suites.ranks.traffic import Traffic

PLAIN = "plain all-reduce"

UNTIMED_ROUNDS = 2
"""In which memory is made and kernels are compiled."""

Contender = Callable[[Tensor, distributed.ProcessGroup], object]


@dataclass(frozen=True)
class Spread:
    """A quantity over the rounds of one run."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""


@dataclass(frozen=True)
class Timing:
    """One contender's times beside the plain all-reduce's."""

    rounds: tuple[float, ...]
    """Seconds of the slowest rank, by round."""
    plain: tuple[float, ...]
    """The plain all-reduce's in the same rounds."""

    @property
    def seconds(self) -> float:
        """Median over rounds."""
        return statistics.median(self.rounds)

    @property
    def over_plain(self) -> float:
        """Median over rounds of the ratio to the plain all-reduce of the same round."""
        return spread(self.rounds, self.plain).median


def spread(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Median and quartiles, over rounds, of the ratios within each round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    if len(ratios) == 1:
        return Spread(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Spread(median, low, high)


def plain(x: Tensor, group: distributed.ProcessGroup) -> None:
    """gloo's own, in place: without a copy of the input, which the others leave alone."""
    distributed.all_reduce(x, group=group)


def contender(name: str) -> Contender:
    """By name: ``PLAIN``, ``codec/algorithm`` of the bundled collective, or ``package.module:function``."""
    if name == PLAIN:
        return plain
    if ":" in name:
        return load_implementation(name)
    codec, _, algorithm = name.partition("/")
    return lambda x, group: quant_all_reduce(x, group, codec=codec, algorithm=algorithm)


@functools.lru_cache(maxsize=1)
def message(rank: int, shape: tuple[int, ...]) -> Tensor:
    """This rank's Gaussian data in bf16."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(rank)).bfloat16()


def seconds_in_turn(  # noqa: PLR0917 - the pool passes arguments by position
    rank: int, group: distributed.ProcessGroup, device: str, names: Sequence[str], shape: tuple[int, ...], rounds: int
) -> list[list[float]]:
    """This rank's seconds, ``[round][contender]``, each from when all ranks are ready. Two untimed rounds come first.

    One call follows on the other, as the sums of a prefill do: after a pause it is the scheduler that is timed.
    """
    x, contenders = message(rank, shape).to(device), [contender(name) for name in names]
    times = []
    for _ in range(rounds + UNTIMED_ROUNDS):
        row = []
        for function in contenders:
            own = x.clone()
            distributed.barrier(group)
            start = now(own)
            function(own, group)
            row.append(now(own) - start)
        times.append(row)
    return times[UNTIMED_ROUNDS:]


def now(x: Tensor) -> float:
    """The time once everything asked of a GPU is done, where ``x`` is on one: a call returns before."""
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def compare(pool: Pool, ranks: int, names: Sequence[str], shape: tuple[int, ...], rounds: int) -> dict[str, Timing]:
    """Times the contenders and the plain all-reduce against each other, in one thread a rank.

    Args:
        pool: A pool with groups of ``ranks``, whose jobs may take as long as all rounds together.
        ranks: Processes that take part.
        names: As for ``contender``; the plain all-reduce may be left out.
        shape: ``[T, H]`` of each rank's bf16 message.
        rounds: How often each is timed.

    Returns:
        A timing for each name, and for the plain all-reduce.

    Raises:
        WorkerError: A call hung or failed.
    """
    everyone = [PLAIN, *(name for name in names if name != PLAIN)]
    by_rank = pool.run(ranks, seconds_in_turn, pool.device, everyone, shape, rounds)
    slowest = [[max(seconds) for seconds in zip(*rows, strict=True)] for rows in zip(*by_rank, strict=True)]
    by_name = dict(zip(everyone, zip(*slowest, strict=True), strict=True))
    return {name: Timing(seconds, by_name[PLAIN]) for name, seconds in by_name.items()}


def sent_bytes(rank: int, group: distributed.ProcessGroup, name: str, shape: tuple[int, ...]) -> float:  # noqa: ARG001
    """Payload bytes that one call really sends from this rank, whatever the numbers in it."""
    with Traffic(group) as traffic:
        contender(name)(torch.zeros(shape, dtype=torch.bfloat16), group)
    sent: float = traffic.sent
    return sent
