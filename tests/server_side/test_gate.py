"""SGLang's own gate, in the installed SGLang: when it compresses, and the four conditions in which it must not.

The collective, the layer's weights and SGLang's process-wide context are stood in for; the code that decides
is SGLang's, unmodified.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sglang.srt.layers import linear
from sglang.srt.layers.layer_boundary import ops
from sglang.srt.model_executor.forward_batch_info import ForwardMode

COMPRESSED, PLAIN = torch.full((2, 4), 8.0), torch.full((2, 4), 16.0)
Gate = Callable[[ForwardMode | None, bool], str]


def batch(mode: ForwardMode | None) -> SimpleNamespace | None:
    return None if mode is None else SimpleNamespace(forward_mode=mode)


def which(result: torch.Tensor) -> str:
    return "compressed" if torch.equal(result, COMPRESSED) else "plain" if torch.equal(result, PLAIN) else "neither"


def context(flag: bool) -> Callable[[], Any]:  # noqa: FBT001 - a test's helper
    return lambda: SimpleNamespace(comm=SimpleNamespace(enable_quant_communications=flag))


@pytest.fixture
def row_parallel(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """RowParallelLinear.forward, the path of o_proj and down_proj."""

    def forward(mode: ForwardMode | None, flag: bool) -> str:  # noqa: FBT001 - Gate's signature
        group = SimpleNamespace(all_reduce=lambda _x: PLAIN, rank_in_group=0, world_size=2)
        layer = SimpleNamespace(
            input_is_parallel=True,
            quant_method=SimpleNamespace(apply=lambda _layer, x, **_: x),
            skip_bias_add=False,
            bias=None,
            reduce_results=True,
            use_decode_attn_tp=False,
            use_dp_attention_reduce=False,
            parallel_group="tp",
            tp_group=group,
        )
        with monkeypatch.context() as patch:
            patch.setattr(linear, "get_exec", context(flag))
            patch.setattr(linear, "get_forward", lambda: SimpleNamespace(sp_active=False))
            patch.setattr(linear, "get_parallel", lambda: SimpleNamespace(tp_group=group, attn_tp_group=group))
            patch.setattr(linear, "get_group_rank_size", lambda _group: (0, 2))
            patch.setattr(linear, "is_allocation_symmetric", lambda: False)
            patch.setattr(linear, "use_symmetric_memory", _nothing)
            patch.setattr(linear, "should_skip_mlp_all_reduce", lambda: False)
            patch.setattr(linear, "tensor_model_parallel_quant_all_reduce", lambda _x: COMPRESSED)
            output, _bias = linear.RowParallelLinear.forward(layer, torch.ones(2, 4), forward_batch=batch(mode))
        return which(output)

    return forward


@pytest.fixture(params=["attention", "ffn"])
def boundary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The layer boundary's sum, the path of models such as Llama in 0.5.23."""
    group = {"attention": ops.SumGroup.ATTN_TP, "ffn": ops.SumGroup.TP}[request.param]

    def forward(mode: ForwardMode | None, flag: bool) -> str:  # noqa: FBT001 - Gate's signature
        with monkeypatch.context() as patch:
            patch.setattr(ops, "get_exec", context(flag))
            patch.setattr(ops, "get_parallel", lambda: SimpleNamespace(attn_tp_size=2, tp_size=2))
            for name in ("tensor_model_parallel", "attention_tensor_model_parallel"):
                patch.setattr(ops, f"{name}_quant_all_reduce", lambda _x: COMPRESSED)
                patch.setattr(ops, f"{name}_all_reduce", lambda _x: PLAIN)
            output = ops.sum_output(torch.ones(2, 4), group, batch(mode), may_quantize=True)
        return which(output)

    return forward


class _nothing:  # noqa: N801 - stands in for a context manager function
    def __init__(self, *_: object, **__: object) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("mode", [ForwardMode.EXTEND, ForwardMode.MIXED])
def test_a_prefill_with_the_flag_is_compressed(row_parallel: Gate, boundary: Gate, mode: ForwardMode) -> None:
    assert row_parallel(mode, True) == "compressed"
    assert boundary(mode, True) == "compressed"


@pytest.mark.parametrize("mode", [ForwardMode.DECODE, ForwardMode.IDLE])
def test_decode_and_idle_are_not_compressed(row_parallel: Gate, boundary: Gate, mode: ForwardMode) -> None:
    assert row_parallel(mode, True) == "plain"
    assert boundary(mode, True) == "plain"


def test_without_the_flag_nothing_is_compressed(row_parallel: Gate, boundary: Gate) -> None:
    assert row_parallel(ForwardMode.EXTEND, False) == "plain"
    assert boundary(ForwardMode.EXTEND, False) == "plain"


def test_without_a_forward_batch_nothing_is_compressed(row_parallel: Gate) -> None:
    assert row_parallel(None, True) == "plain"
