"""int8_token, and SGLang's gate opened: what it sums plainly in decode is compressed as well."""

import functools

import torch

from harness.collective import quant_all_reduce


@functools.cache
def open_gate() -> None:
    # Imported on the first call, in a prefill: by then the plugin has hooked the functions.
    from sglang.srt.layers.layer_boundary import ops  # noqa: PLC0415

    ops.tensor_model_parallel_all_reduce = ops.tensor_model_parallel_quant_all_reduce
    ops.attention_tensor_model_parallel_all_reduce = ops.attention_tensor_model_parallel_quant_all_reduce


def all_reduce(x: torch.Tensor, group: torch.distributed.ProcessGroup) -> torch.Tensor:
    open_gate()
    return quant_all_reduce(x, group, codec="int8_token")
