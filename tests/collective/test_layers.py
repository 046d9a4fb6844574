"""The gate, the coordinator, its entry points and the row-parallel layer."""

import logging

import pytest
import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.coordinator import Coordinator
from harness.collective.gate import ForwardMode, compresses
from harness.collective.parallel import (
    ParallelGroups,
    attention_tensor_model_parallel_quant_all_reduce,
    tensor_model_parallel_quant_all_reduce,
)
from harness.collective.row_parallel import RowParallelLinear
from suites.ranks.pool import Pool, WorkerError

Group = distributed.ProcessGroup


@pytest.mark.parametrize(
    ("mode", "opens"),
    [
        (ForwardMode.EXTEND, True),
        (ForwardMode.MIXED, True),
        (ForwardMode.DECODE, False),
        (ForwardMode.IDLE, False),
        (None, False),
    ],
)
def test_only_prefill_is_compressed(mode: ForwardMode | None, opens: bool) -> None:  # noqa: FBT001 - a table
    assert compresses(mode, enabled=True, ranks=2) is opens
    assert not compresses(mode, enabled=False, ranks=2)
    assert not compresses(mode, enabled=True, ranks=1)


def layer_outputs(rank: int, group: Group, *, enabled: bool) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
    ranks = distributed.get_world_size(group)
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(3, 8 * ranks, generator=generator)
    weight = torch.randn(16, 8 * ranks, generator=generator)
    bias = torch.randn(16, generator=generator) * 1000
    mine = slice(8 * rank, 8 * rank + 8)
    coordinator = Coordinator(group, quant_all_reduce)
    layer = RowParallelLinear(weight[:, mine].contiguous(), bias, coordinator, enabled=enabled)
    outputs = [layer(x[:, mine], mode) for mode in (ForwardMode.EXTEND, ForwardMode.DECODE, None)]
    exact = torch.nn.functional.linear(x, weight, bias)
    return outputs, exact, (coordinator.compressed_calls, coordinator.plain_calls)


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_row_parallel_layer_compresses_prefill_and_nothing_else(pool: Pool, ranks: int) -> None:
    for (prefill, decode, direct), exact, calls in pool.run(ranks, layer_outputs_enabled):
        assert calls == (1, 2)
        assert torch.allclose(decode, exact, rtol=1e-5, atol=1e-4)
        assert torch.equal(decode, direct)
        # Compressed: close, but for certain not the same. The large bias would drown the sum if quantized.
        error = (prefill - exact).abs().max().item()
        assert 1e-3 < error < 0.3


def layer_outputs_enabled(rank: int, group: Group) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
    return layer_outputs(rank, group, enabled=True)


def layer_outputs_disabled(rank: int, group: Group) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
    return layer_outputs(rank, group, enabled=False)


def test_a_layer_without_compression_never_compresses(pool: Pool) -> None:
    for outputs, exact, calls in pool.run(2, layer_outputs_disabled):
        assert calls == (0, 3)
        assert all(torch.allclose(out, exact, rtol=1e-5, atol=1e-4) for out in outputs)


def test_one_rank_reduces_nothing(pool: Pool) -> None:
    [(outputs, exact, calls)] = pool.run(1, layer_outputs_enabled)
    assert calls == (0, 0)
    assert all(torch.allclose(out, exact) for out in outputs)


def call_without_compression(rank: int, group: Group) -> None:
    Coordinator(group, None).quant_all_reduce(torch.full((1, 2), float(rank)))


def test_missing_compression_is_an_error(pool: Pool) -> None:
    with pytest.raises(WorkerError, match="MissingBackendError: a compressed all-reduce was asked for"):
        pool.run(2, call_without_compression)


def call_with_plain_allowed(rank: int, group: Group) -> tuple[Tensor, int, list[str]]:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("harness.collective.coordinator").addHandler(handler)
    coordinator = Coordinator(group, None, plain_without=True)
    out = coordinator.quant_all_reduce(torch.full((1, 2), rank + 0.3))
    return out, coordinator.plain_calls, messages


def test_a_plain_sum_in_its_place_is_asked_for_logged_and_counted(pool: Pool) -> None:
    for out, plain_calls, messages in pool.run(2, call_with_plain_allowed):
        assert torch.allclose(out, torch.full((1, 2), 1.6))
        assert plain_calls == 1
        assert messages == ["plain all-reduce in place of a compressed one, call 1"]


def call_entry_points(rank: int, group: Group) -> tuple[Tensor, Tensor]:
    groups = ParallelGroups(
        tensor=Coordinator(group, quant_all_reduce),
        attention=Coordinator(group, lambda x, _: x * 10),
    )
    x = torch.full((1, 4), rank + 1.0)
    return (
        tensor_model_parallel_quant_all_reduce(x, groups),
        attention_tensor_model_parallel_quant_all_reduce(x, groups),
    )


def test_each_entry_point_reduces_over_its_own_group(pool: Pool) -> None:
    for rank, (tensor, attention) in enumerate(pool.run(2, call_entry_points)):
        assert torch.equal(tensor, torch.full((1, 4), 3.0))
        assert torch.equal(attention, torch.full((1, 4), 10.0 * (rank + 1)))
