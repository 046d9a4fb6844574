"""The NPU backend over a stand-in ``torch_npu``. Not run on hardware."""

import sys

import pytest
import torch
from torch import Tensor

from harness.collective import MissingBackendError, get_codec, simulate_all_reduce
from harness.collective.bounds import sum_bound
from suites.implementations.standin_npu import KERNELS, stand_in_torch_npu


def inputs(dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 64, 96, generator=generator) * torch.logspace(-3, 3, 64).unsqueeze(-1)
    return x.to(dtype)


@pytest.mark.parametrize("algorithm", ["one_shot", "two_shot"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_int8_token_by_either_kernel_stays_within_its_bound(kernel: str, algorithm: str) -> None:
    x = inputs()
    with stand_in_torch_npu(kernel):
        out = simulate_all_reduce(x, codec="int8_token", algorithm=algorithm, backend="npu")
    error = (out.double() - x.double().sum(dim=0)).abs()
    assert (error <= sum_bound(x, get_codec("int8_token"), algorithm)).all()


@pytest.mark.parametrize("codec", ["npu_reciprocal", "upstream_bf16"])
def test_the_reciprocal_codecs_are_the_a2_kernel_bit_for_bit(codec: str) -> None:
    x = inputs()
    with stand_in_torch_npu("a2"):
        out = simulate_all_reduce(x, codec=codec, backend="npu")
    assert torch.equal(out, simulate_all_reduce(x, codec=codec, backend="eager"))


def test_the_950_kernel_is_not_the_a2_kernel() -> None:
    x = inputs()
    with stand_in_torch_npu("950"):
        out = simulate_all_reduce(x.float().to(torch.float16), codec="npu_reciprocal", backend="npu")
    assert not torch.equal(out, simulate_all_reduce(x.float().to(torch.float16), codec="npu_reciprocal"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_rows_of_zeros_stay_zero_and_only_affected_rows_become_nan(kernel: str) -> None:
    x = inputs()
    x[:, 5] = 0
    x[0, 9, 3], x[1, 11, 0] = torch.nan, torch.inf
    with stand_in_torch_npu(kernel):
        out = simulate_all_reduce(x, codec="int8_token", backend="npu")
    assert not out[5].any()
    assert (~out.isfinite()).any(dim=-1).nonzero().flatten().tolist() == [9, 11]


def test_what_the_kernel_cannot_do_is_refused() -> None:
    with stand_in_torch_npu("a2"):
        with pytest.raises(MissingBackendError, match="can't encode 'int4_group32', only int8_token"):
            simulate_all_reduce(inputs(), codec="int4_group32", backend="npu")
        with pytest.raises(MissingBackendError, match=r"takes bf16 or fp16, not torch\.float32"):
            simulate_all_reduce(inputs(torch.float32), backend="npu")


def test_without_torch_npu_the_backend_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_npu", None)
    with pytest.raises(MissingBackendError, match="needs torch_npu, whose import failed"):
        simulate_all_reduce(inputs(), backend="npu")
