"""SGLang's own gate, in the installed SGLang: when it compresses, and the four conditions in which it must not.

The collective, the layer's weights and SGLang's process-wide context are stood in for; the code that decides
is SGLang's, unmodified. It stands at two places: the linear layer, and what sums between layers, which has been
rewritten twice (0.5.21, 0.5.22). Each release is tested at those that it has.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from sglang.srt.layers import linear
from sglang.srt.model_executor.forward_batch_info import ForwardMode

COMPRESSED, PLAIN = torch.full((2, 4), 8.0), torch.full((2, 4), 16.0)
Gate = Callable[[ForwardMode | None, bool], str]


def batch(mode: ForwardMode | None) -> SimpleNamespace | None:
    return None if mode is None else SimpleNamespace(forward_mode=mode)


def which(result: torch.Tensor) -> str:
    return "compressed" if torch.equal(result, COMPRESSED) else "plain" if torch.equal(result, PLAIN) else "neither"


def stand_in(patch: pytest.MonkeyPatch, module: ModuleType, *, flag: bool) -> None:
    """Put stand-ins in the place of what the module imports: each release another part of these names."""
    group = SimpleNamespace(all_reduce=lambda _x: PLAIN, rank_in_group=0, world_size=2)
    arguments = SimpleNamespace(enable_quant_communications=flag)
    names = {
        # Where the flag is read: up to 0.5.15, in 0.5.16, from 0.5.17 on.
        "get_global_server_args": lambda: arguments,
        "get_server_args": lambda: arguments,
        "get_exec": lambda: SimpleNamespace(comm=arguments),
        "get_forward": lambda: SimpleNamespace(sp_active=False),
        "get_parallel": lambda: SimpleNamespace(
            tp_group=group, attn_tp_group=group, attn_tp_size=2, tp_size=2, tp_rank=0
        ),
        "get_tp_group": lambda: group,
        "get_group_rank_size": lambda _group: (0, 2),
        "get_attn_tp_context": lambda: SimpleNamespace(input_scattered=False),
        "is_allocation_symmetric": lambda: False,
        "use_symmetric_memory": _nothing,
        "should_skip_mlp_all_reduce": lambda: False,
        "apply_aiter_all_reduce_fusion": lambda _x: False,
        "apply_flashinfer_allreduce_fusion": lambda _tokens: False,
        "tensor_model_parallel_quant_all_reduce": lambda _x: COMPRESSED,
        "tensor_model_parallel_all_reduce": lambda _x: PLAIN,
        "attention_tensor_model_parallel_quant_all_reduce": lambda _x: COMPRESSED,
        "attention_tensor_model_parallel_all_reduce": lambda _x: PLAIN,
    }
    for name, replacement in names.items():
        if hasattr(module, name):
            patch.setattr(module, name, replacement)


@pytest.fixture
def row_parallel(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """RowParallelLinear.forward, the path of o_proj and down_proj."""

    def forward(mode: ForwardMode | None, flag: bool) -> str:  # noqa: FBT001 - Gate's signature
        layer = SimpleNamespace(
            input_is_parallel=True,
            quant_method=SimpleNamespace(apply=lambda _layer, x, **_: x),
            skip_bias_add=False,
            bias=None,
            reduce_results=True,
            use_decode_attn_tp=False,
            use_dp_attention_reduce=False,
            parallel_group="tp",
            tp_group=SimpleNamespace(all_reduce=lambda _x: PLAIN, rank_in_group=0, world_size=2),
            tp_size=2,
            tp_rank=0,
        )
        with monkeypatch.context() as patch:
            stand_in(patch, linear, flag=flag)
            output, _bias = linear.RowParallelLinear.forward(layer, torch.ones(2, 4), forward_batch=batch(mode))
        return which(output)

    return forward


def between_layers(site: str) -> tuple[ModuleType, Callable[[Any, Any], torch.Tensor]] | None:
    """Return this release's module that sums between layers, and its sum of a tensor under a batch, if it has one."""
    try:
        ops = import_module("sglang.srt.layers.layer_boundary.ops")
    except ImportError:
        if site == "ffn":
            return None
        communicator = import_module("sglang.srt.layers.communicator")
        gather = communicator.CommunicateWithAllReduceAndLayerNormFn._gather_hidden_states_and_residual
        context = SimpleNamespace(attn_dp_size=1, attn_tp_size=2, cache=None)

        def norm(x: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, residual

        return communicator, lambda x, its_batch: gather(x, x, its_batch, norm, context, residual_input_mode=None)[0]
    if hasattr(ops, "sum_output"):
        group = {"attention": ops.SumGroup.ATTN_TP, "ffn": ops.SumGroup.TP}[site]
        return ops, lambda x, its_batch: ops.sum_output(x, group, its_batch, may_quantize=True)
    return (ops, ops._mlp_input_reduce_output) if site == "attention" else None


@pytest.fixture(params=["attention", "ffn"])
def boundary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The sum between layers, the path of models such as Llama in 0.5.23."""
    if (found := between_layers(request.param)) is None:
        pytest.skip("this release sums the FFN's output in the linear layer alone")
    module, summed = found

    def forward(mode: ForwardMode | None, flag: bool) -> str:  # noqa: FBT001 - Gate's signature
        with monkeypatch.context() as patch:
            stand_in(patch, module, flag=flag)
            return which(summed(torch.ones(2, 4), batch(mode)))

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
