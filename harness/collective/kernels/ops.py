"""The kernels as torch operators, for ``torch.compile`` and CUDA graphs: ``torch.ops.tp_compression``."""

import torch
from torch import Tensor

from harness.collective.backends.base import MissingBackendError
from harness.collective.kernels import launch
from harness.collective.kernels.form import Form

FP8_SINCE = (8, 9)
"""The compute capability from which on there is an instruction that rounds to e4m3."""


@torch.library.custom_op("tp_compression::encode", mutates_args=(), device_types="cuda")
def encode(
    x: Tensor,
    kind: str,
    largest: float,
    group: int,
    reciprocal: bool,
    hadamard: bool,
) -> tuple[Tensor, Tensor]:
    """Encodes ``x`` ``[T, H]``, any strides: stored values ``[T, ...]`` and fp32 scales ``[T, blocks]``."""
    _check(kind, x)
    return launch.encode(x, Form(kind, largest, group, reciprocal, hadamard))


@encode.register_fake
def _(
    x: Tensor,
    kind: str,
    largest: float,
    group: int,
    reciprocal: bool,
    hadamard: bool,
) -> tuple[Tensor, Tensor]:
    return launch.results(x.shape[0], x.shape[1], Form(kind, largest, group, reciprocal, hadamard), x.device)


@torch.library.custom_op("tp_compression::decode_sum", mutates_args=(), device_types="cuda")
def decode_sum(
    gathered: Tensor,
    scales: Tensor | None,
    width: int,
    dtype: torch.dtype,
    kind: str,
    largest: float,
    group: int,
    reciprocal: bool,
    hadamard: bool,
) -> Tensor:
    """Decodes ``[N, T, ...]`` and adds over N in fp32 and rank order: ``[T, width]``, rounded to ``dtype``."""
    _check(kind, gathered)
    return launch.decode_sum(gathered, scales, width, Form(kind, largest, group, reciprocal, hadamard), dtype)


@decode_sum.register_fake
def _(
    gathered: Tensor,
    scales: Tensor | None,  # noqa: ARG001 - a fake has its operator's arguments
    width: int,
    dtype: torch.dtype,
    kind: str,  # noqa: ARG001
    largest: float,  # noqa: ARG001
    group: int,  # noqa: ARG001
    reciprocal: bool,  # noqa: ARG001
    hadamard: bool,  # noqa: ARG001
) -> Tensor:
    return gathered.new_empty((gathered.shape[1], width), dtype=dtype)


@torch.library.custom_op("tp_compression::decode_sum_encode", mutates_args=(), device_types="cuda")
def decode_sum_encode(
    gathered: Tensor,
    scales: Tensor,
    width: int,
    kind: str,
    largest: float,
    group: int,
    reciprocal: bool,
    hadamard: bool,
) -> tuple[Tensor, Tensor]:
    """Decodes and adds like ``decode_sum``, and encodes the unrounded sum."""
    _check(kind, gathered)
    return launch.decode_sum_encode(gathered, scales, width, Form(kind, largest, group, reciprocal, hadamard))


@decode_sum_encode.register_fake
def _(
    gathered: Tensor,
    scales: Tensor,  # noqa: ARG001
    width: int,
    kind: str,
    largest: float,
    group: int,
    reciprocal: bool,
    hadamard: bool,
) -> tuple[Tensor, Tensor]:
    form = Form(kind, largest, group, reciprocal, hadamard)
    return launch.results(gathered.shape[1], width, form, gathered.device)


def _check(kind: str, x: Tensor) -> None:
    if kind == "fp8_e4m3" and (capability := torch.cuda.get_device_capability(x.device)) < FP8_SINCE:
        raise MissingBackendError(
            f"the FP8 kernels need compute capability {FP8_SINCE[0]}.{FP8_SINCE[1]}, this GPU has "
            f"{capability[0]}.{capability[1]}; choose another codec, or backend='eager' for torch's own operations",
        )
