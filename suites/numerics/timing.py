"""How long all-reduces take, side by side: every round times each of them once, in turn."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from suites.numerics.cluster import Cluster
from suites.numerics.standin_npu import a2_kernel
from suites.numerics.steps import OneShot

PLAIN = "plain all-reduce"
NAIVE_UPSTREAM = "naive, upstream's arithmetic"
NAIVE_FP32 = "naive, fp32 sum"

Contender = Callable[[Tensor, distributed.ProcessGroup], object]


@dataclass(frozen=True)
class Timing:
    """One contender's time, the slowest rank's in each round."""

    seconds: float
    """Median over rounds."""
    over_plain: float
    """Median over rounds of the ratio to the plain all-reduce of the same round."""


def plain(x: Tensor, group: distributed.ProcessGroup) -> None:
    """gloo's own, in place: without a copy of the input, which the others leave alone."""
    distributed.all_reduce(x, group=group)


def naive_upstream(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """What SGLang 0.5.23 does after its kernel, in the same torch operations; the kernel in three of them."""
    stored, scale = a2_kernel(x.float())
    values, scales = (OneShot().exchange(part, group) for part in (stored, scale))
    return (values.to(x.dtype) * scales.unsqueeze(-1).to(x.dtype)).sum(dim=0)


def contender(name: str) -> Contender:
    """By name: one of this module's three, or ``codec/algorithm`` of the library."""
    own: dict[str, Contender] = {PLAIN: plain, NAIVE_UPSTREAM: naive_upstream, NAIVE_FP32: OneShot()}
    if name in own:
        return own[name]
    codec, _, algorithm = name.partition("/")
    return lambda x, group: quant_all_reduce(x, group, codec=codec, algorithm=algorithm)


def time_all(
    rank: int,
    group: distributed.ProcessGroup,
    names: Sequence[str],
    shape: tuple[int, ...],
    rounds: int,
) -> list[list[float]]:
    """Seconds of this rank, ``[round][contender]``, on bf16 Gaussian data. One untimed round comes first."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(rank)).bfloat16()
    contenders = [contender(name) for name in names]
    seconds = []
    for _ in range(rounds + 1):
        row = []
        for function in contenders:
            own = x.clone()
            distributed.barrier(group)
            start = time.perf_counter()
            function(own, group)
            row.append(time.perf_counter() - start)
        seconds.append(row)
    return seconds[1:]


def compare(
    cluster: Cluster, ranks: int, names: Sequence[str], shape: tuple[int, ...], rounds: int
) -> dict[str, Timing]:
    """Times the contenders and the plain all-reduce against each other, in one thread a rank.

    Args:
        cluster: A pool with groups of ``ranks``.
        ranks: Processes that take part.
        names: As for ``contender``; the plain all-reduce may be left out.
        shape: ``[T, H]`` of each rank's bf16 message.
        rounds: How often each is timed.

    Returns:
        A timing for each name, and for the plain all-reduce.
    """
    everyone = [PLAIN, *(name for name in names if name != PLAIN)]
    by_rank = torch.tensor(cluster.run(ranks, time_all, everyone, shape, rounds), dtype=torch.float64)
    slowest = by_rank.amax(dim=0)
    ratios = slowest / slowest[:, :1]
    return {
        name: Timing(statistics.median(slowest[:, column].tolist()), statistics.median(ratios[:, column].tolist()))
        for column, name in enumerate(everyone)
    }
