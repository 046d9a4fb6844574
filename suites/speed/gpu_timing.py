"""How long GPU work takes, by device events around the replay of a CUDA graph.

A graph holds one call for each set of inputs and results, and the sets together are several times as large as
the L2 cache, so that every call finds its inputs in memory.
"""

import statistics
from collections.abc import Callable, Sequence

import torch

FOOTPRINT = 8
"""How many times the L2 cache the inputs of one graph fill."""

REPLAYS = 25

Call = Callable[[], object]


def sets_beyond_cache(size: int) -> int:
    """How many sets of ``size`` bytes to rotate through: 4 to 128."""
    cache = torch.cuda.get_device_properties("cuda").L2_cache_size
    return max(4, min(128, -(-FOOTPRINT * cache // max(1, size))))


def microseconds(calls: Sequence[Call]) -> float:
    """The time of one call: the median over replays of a graph of all of them, divided by their number."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times = [_replay(graph) for _ in range(REPLAYS + 3)][3:]
    return statistics.median(times) / len(calls)


def _replay(graph: torch.cuda.CUDAGraph) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e3


def copy_microseconds(size: int) -> float:
    """The time of a device-to-device copy that reads and writes ``size`` bytes together."""
    sets = sets_beyond_cache(size)
    sources = torch.randint(0, 256, (sets, size // 2), dtype=torch.uint8, device="cuda")
    targets = torch.empty_like(sources)
    return microseconds([_copying(target, source) for target, source in zip(targets, sources, strict=True)])


def _copying(target: torch.Tensor, source: torch.Tensor) -> Call:
    return lambda: target.copy_(source)
