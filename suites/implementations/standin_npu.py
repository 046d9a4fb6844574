"""A stand-in for ``torch_npu``: the documented arithmetic of ``npu_dynamic_quant``, without the hardware."""

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

KERNELS = ("a2", "950")


def a2_kernel(x: Tensor) -> tuple[Tensor, Tensor]:
    """A2 and A3: multiply by ``inv = 127 / amax``, store ``1 / inv``."""
    # One IEEE division; torch's own `127.0 / amax` is a reciprocal times 127, rounded twice.
    inverse = torch.tensor(127.0) / x.abs().amax(dim=-1)
    return _to_int8(x * inverse.unsqueeze(-1)), 1.0 / inverse


def kernel_950(x: Tensor) -> tuple[Tensor, Tensor]:
    """950: ``scale = amax * (1 / 127)``, divide by it."""
    scale = x.abs().amax(dim=-1) * torch.tensor(1.0 / 127.0)
    return _to_int8(x / scale.unsqueeze(-1)), scale


def _to_int8(v: Tensor) -> Tensor:
    # What hardware stores for a NaN is unknown; 85 is as good as anything, and easy to notice.
    return v.round().nan_to_num(nan=85.0).clamp(-127, 127).to(torch.int8)


def make_module(kernel: str) -> types.ModuleType:
    """A module with ``npu_dynamic_quant`` as torch_npu 2.13.0 declares it, restricted to what SGLang uses.

    Raises:
        ValueError: No such kernel.
    """
    if kernel not in KERNELS:
        raise ValueError(f"no kernel is named {kernel!r}; there are: {', '.join(KERNELS)}")
    arithmetic = a2_kernel if kernel == "a2" else kernel_950

    def npu_dynamic_quant(
        input: Tensor,  # noqa: A002 - the operator's own argument name
        *,
        smooth_scales: Tensor | None = None,
        group_index: Tensor | None = None,
        dst_type: torch.dtype | None = None,
        quant_mode: str = "pertoken",
        dst_type_max: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        if smooth_scales is not None or group_index is not None or quant_mode != "pertoken" or dst_type_max:
            raise NotImplementedError("the stand-in has no smooth scales, groups or other modes")
        if dst_type is not torch.int8 or input.dtype not in {torch.float16, torch.bfloat16}:
            raise TypeError(f"the kernel makes int8 of fp16 or bf16, not {dst_type} of {input.dtype}")
        if not 2 <= input.dim() <= 8:
            raise ValueError(f"the kernel takes 2 to 8 dimensions, not {input.dim()}")
        return arithmetic(input.float())

    module = types.ModuleType("torch_npu", "Stand-in without hardware.")
    # Libraries ask importlib whether torch_npu is there, and that looks at the spec.
    module.__spec__ = importlib.machinery.ModuleSpec("torch_npu", loader=None)
    module.npu_dynamic_quant = npu_dynamic_quant  # type: ignore[attr-defined]
    return module


@contextmanager
def stand_in_torch_npu(kernel: str) -> Iterator[None]:
    """Makes ``import torch_npu`` give the stand-in while the context lasts."""
    before = sys.modules.get("torch_npu")
    sys.modules["torch_npu"] = make_module(kernel)
    try:
        yield
    finally:
        if before is None:
            del sys.modules["torch_npu"]
        else:
            sys.modules["torch_npu"] = before
