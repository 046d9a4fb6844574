"""The collective in real process groups: results, agreement between ranks, and refusals."""

import pytest
import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from suites.ranks.pool import Pool, WorkerError

SHAPES = [(1, 1), (7, 67), (5, 3, 64), (64,)]


def message(rank: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(shape, generator=generator).mul_(rank + 1).to(dtype)


def reduce(
    rank: int,
    group: distributed.ProcessGroup,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    method: tuple[str, str] = ("int8_token", "one_shot"),
) -> Tensor:
    x = message(rank, shape, dtype)
    before = x.clone()
    out = quant_all_reduce(x, group, codec=method[0], algorithm=method[1])
    assert torch.equal(x, before), "the input was written to"
    assert out.is_contiguous()
    return out


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_int8_token_stays_within_half_a_step_of_each_rank(
    pool: Pool, ranks: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    results = pool.run(ranks, reduce, shape, dtype)
    inputs = torch.stack([message(rank, shape, dtype) for rank in range(ranks)]).double()
    steps = inputs.abs().amax(dim=-1, keepdim=True) / 127
    exact = inputs.sum(dim=0)
    rounding = torch.finfo(dtype).eps / 2 * exact.abs() + torch.finfo(dtype).eps / 2 * steps.sum(dim=0)
    assert ((results[0].double() - exact).abs() <= 0.501 * steps.sum(dim=0) + rounding).all()
    assert results[0].shape == shape
    assert results[0].dtype == dtype
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_without_compression_the_sum_is_taken_in_fp32_and_rounded_once(pool: Pool, ranks: int) -> None:
    shape, dtype = (7, 67), torch.bfloat16
    results = pool.run(ranks, reduce, shape, dtype, ("none", "one_shot"))
    total = torch.zeros(shape)
    for rank in range(ranks):
        total += message(rank, shape, dtype).float()
    assert all(torch.equal(result, total.to(dtype)) for result in results)


def test_one_rank_gets_a_copy_of_its_input(pool: Pool) -> None:
    [out] = pool.run(1, reduce, (3, 5), torch.bfloat16)
    assert torch.equal(out, message(0, (3, 5), torch.bfloat16))


@pytest.mark.parametrize("shape", [(0, 64), (3, 0), (0,)], ids=str)
def test_an_empty_tensor_stays_empty(pool: Pool, shape: tuple[int, ...]) -> None:
    for out in pool.run(2, reduce, shape, torch.float16):
        assert out.shape == shape
        assert out.dtype == torch.float16


def reduce_strided(rank: int, group: distributed.ProcessGroup) -> tuple[Tensor, Tensor]:
    x = message(rank, (64, 12), torch.bfloat16).t()
    return quant_all_reduce(x, group), quant_all_reduce(x.contiguous(), group)


def test_strides_do_not_change_the_result(pool: Pool) -> None:
    for strided, contiguous in pool.run(2, reduce_strided):
        assert torch.equal(strided, contiguous)


def reduce_in_default_group(rank: int, group: distributed.ProcessGroup) -> Tensor:
    assert distributed.get_world_size(group) == distributed.get_world_size()
    return quant_all_reduce(torch.full((1, 4), float(rank)))


def test_the_default_group_is_everyone(pool: Pool) -> None:
    for out in pool.run(4, reduce_in_default_group):
        assert torch.equal(out, torch.full((1, 4), 6.0))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.int32), {}, "not torch.int32"),
        (torch.zeros(()), {}, "not a scalar"),
        (torch.zeros(2, 2), {"codec": "int9"}, "no codec is named 'int9'; there are: none, int8_token"),
        (torch.zeros(2, 2), {"algorithm": "tree"}, "no algorithm is named 'tree'; there are: one_shot"),
        (torch.zeros(2, 2), {"backend": "triton"}, "no backend is named 'triton'; there are:"),
        (torch.zeros(2, 2, device="meta"), {}, "no backend serves 'meta' tensors"),
    ],
    ids=["dtype", "scalar", "codec", "algorithm", "backend", "device"],
)
def test_what_is_not_offered_is_refused(x: Tensor, options: dict[str, str], message: str) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        quant_all_reduce(x, **options)  # type: ignore[arg-type]  # the options are what is wrong here


def reduce_in_a_group_of_others(rank: int, group: distributed.ProcessGroup) -> None:
    others = distributed.new_group([1])
    quant_all_reduce(torch.zeros(1, 4), group if rank == 1 else others)


def test_a_process_outside_the_group_is_told_so(pool: Pool) -> None:
    with pytest.raises(WorkerError, match="not a member of the given process group"):
        pool.run(4, reduce_in_a_group_of_others)
