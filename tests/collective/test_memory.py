"""What a call allocates: the result, what is gathered, and next to nothing else."""

import pytest
import torch
from torch import Tensor, distributed
from torch.profiler import ProfilerActivity, profile

from harness.collective.algorithms.pipeline import DEPTH
from harness.collective.backends.tiled import Tiled
from suites.ranks.pool import Pool
from suites.ranks.timing import contender
from suites.speed.bench import NAIVE_FP32

SHAPE = (6000, 2048)
RESULT = SHAPE[0] * SHAPE[1] * 2
assert Tiled.piece_bytes is not None
GATHERED = DEPTH * Tiled.piece_bytes
"""Of all pieces under way."""


def peak(rank: int, group: distributed.ProcessGroup, name: str) -> int:
    """The most bytes of CPU tensors that one call holds at once, beyond those there before it."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(rank)).bfloat16()
    function = contender(name)
    function(x, group)  # keeps its tiles
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = function(x, group)
    assert isinstance(kept, Tensor)
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profiled.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    held = largest = 0
    for _, change in changes:
        held += change
        largest = max(largest, held)
    return largest


@pytest.mark.parametrize(("algorithm", "buffers"), [("one_shot", 1), ("two_shot", 2)])
@pytest.mark.parametrize("ranks", [2, 4])
def test_no_more_than_the_result_and_what_is_gathered(pool: Pool, ranks: int, algorithm: str, buffers: int) -> None:
    """Two-shot sends from one buffer and receives into another. Scales of a tile and the like are under 1 %."""
    for largest in pool.run(ranks, peak, f"int8_token/{algorithm}"):
        assert RESULT < largest < 1.01 * (RESULT + buffers * GATHERED)


def test_the_measure_sees_what_a_naive_version_holds(pool: Pool) -> None:
    assert min(pool.run(2, peak, NAIVE_FP32)) > 4 * (RESULT + GATHERED)
