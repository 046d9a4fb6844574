"""Ascend NPUs: encoding by ``torch_npu.npu_dynamic_quant``. Not run on hardware."""

import importlib
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from harness.collective.backends.base import Backend, MissingBackendError
from harness.collective.backends.eager import Eager
from harness.collective.codec import Codec, Parts

_ENCODED_BY_THE_KERNEL = ("int8_token", "npu_reciprocal", "upstream_bf16")

_KERNEL_DTYPES = (torch.bfloat16, torch.float16)


class Npu(Backend):
    """The device's own quantization kernel, and torch operations for the rest.

    The message is encoded by the kernel, whose scales (``1 / (127 / amax)`` on A2 and A3,
    ``amax * (1 / 127)`` on the 950; torch_npu 2.13.0's documentation) may differ from ``int8_token``'s in
    the last bit and stay within its bound. Its results for rows of zeros and for NaNs are undocumented, so
    they are set here. Two-shot's fp32 sum is encoded by the codec's torch operations: the kernel takes
    none. Not run on hardware: tested through a stand-in with the documented arithmetic of both kernels.
    """

    name = "npu"

    def __init__(self) -> None:
        self._eager = Eager()

    def encode(self, codec: Codec, x: Tensor, out: Parts) -> None:
        _check(codec, x.dtype)
        quantize = _npu_dynamic_quant()
        stored, scale = quantize(x, dst_type=torch.int8)
        amax = x.float().abs().amax(dim=-1)
        scale = torch.where(amax == 0, 0.0, torch.where(amax.isfinite(), scale, torch.nan))
        for target, part in zip(out, (stored, scale.unsqueeze(-1)), strict=True):
            target.copy_(part)

    def decode_sum(self, codec: Codec, gathered: Parts, out: Tensor) -> None:
        self._eager.decode_sum(codec, gathered, out)

    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype, out: Parts) -> None:
        self._eager.decode_sum_encode(codec, gathered, width, dtype, out)


def _check(codec: Codec, dtype: torch.dtype) -> None:
    if codec.name not in _ENCODED_BY_THE_KERNEL:
        raise MissingBackendError(
            f"npu_dynamic_quant can't encode {codec.name!r}, only {', '.join(_ENCODED_BY_THE_KERNEL)}; "
            "choose one of those, or backend='eager' for torch's own operations",
        )
    if dtype not in _KERNEL_DTYPES:
        raise MissingBackendError(
            f"npu_dynamic_quant takes bf16 or fp16, not {dtype}; choose backend='eager' for this message",
        )


def _npu_dynamic_quant() -> Callable[..., tuple[Tensor, Tensor]]:
    try:
        module = importlib.import_module("torch_npu")
    except ImportError as error:
        raise MissingBackendError(
            f"the npu backend needs torch_npu, whose import failed: {error}; install it together with CANN, "
            "or choose backend='eager'",
        ) from error
    try:
        return cast("Callable[..., tuple[Tensor, Tensor]]", module.npu_dynamic_quant)
    except AttributeError:
        raise MissingBackendError("this torch_npu has no npu_dynamic_quant; it needs torch_npu 2.x") from None
