"""The kernels as torch operators, for ``torch.compile`` and CUDA graphs: ``torch.ops.tp_compression``.

Declared by their schemas: ``torch.library.custom_op`` does the same from annotations, and its checks at each
call take about as long as preparing the launch.
"""

import torch
from torch import Tensor

from harness.collective.backends.base import MissingBackendError
from harness.collective.kernels import launch
from harness.collective.kernels.form import Form

FP8_SINCE = (8, 9)
"""The compute capability from which on there is an instruction that rounds to e4m3."""

_FORM = "str kind, float largest, int group, bool reciprocal, bool hadamard"

_LIBRARY = torch.library.Library("tp_compression", "DEF")
_LIBRARY.define(f"encode(Tensor x, {_FORM}) -> (Tensor, Tensor)")
_LIBRARY.define(f"decode_sum(Tensor gathered, Tensor? scales, int width, ScalarType dtype, {_FORM}) -> Tensor")
_LIBRARY.define(f"decode_sum_encode(Tensor gathered, Tensor scales, int width, {_FORM}) -> (Tensor, Tensor)")


@torch.library.impl(_LIBRARY, "encode", "CUDA")
def _encode(x: Tensor, *form: str | float | bool) -> tuple[Tensor, Tensor]:
    own = _checked(x, Form._make(form))
    if not own.group and x.shape[1] > launch.LONGEST_ROW:
        raise MissingBackendError(
            f"the cuda backend takes rows of up to {launch.LONGEST_ROW} columns that share one scale, not "
            f"{x.shape[1]}; choose a codec with groups, or backend='eager'",
        )
    return launch.encode(x, own)


@torch.library.register_fake("tp_compression::encode", lib=_LIBRARY)
def _encode_shapes(x: Tensor, *form: str | float | bool) -> tuple[Tensor, Tensor]:
    return launch.results(x.shape[0], x.shape[1], Form._make(form), x.device)


@torch.library.impl(_LIBRARY, "decode_sum", "CUDA")
def _decode_sum(
    gathered: Tensor, scales: Tensor | None, width: int, dtype: torch.dtype, *form: str | float | bool
) -> Tensor:
    return launch.decode_sum(gathered, scales, width, _checked(gathered, Form._make(form)), dtype)


@torch.library.register_fake("tp_compression::decode_sum", lib=_LIBRARY)
def _decode_sum_shapes(
    gathered: Tensor, _scales: Tensor | None, width: int, dtype: torch.dtype, *_form: str | float | bool
) -> Tensor:
    return gathered.new_empty((gathered.shape[1], width), dtype=dtype)


@torch.library.impl(_LIBRARY, "decode_sum_encode", "CUDA")
def _decode_sum_encode(
    gathered: Tensor, scales: Tensor, width: int, *form: str | float | bool
) -> tuple[Tensor, Tensor]:
    return launch.decode_sum_encode(gathered, scales, width, _checked(gathered, Form._make(form)))


@torch.library.register_fake("tp_compression::decode_sum_encode", lib=_LIBRARY)
def _decode_sum_encode_shapes(
    gathered: Tensor, _scales: Tensor, width: int, *form: str | float | bool
) -> tuple[Tensor, Tensor]:
    return launch.results(gathered.shape[1], width, Form._make(form), gathered.device)


encode = torch.ops.tp_compression.encode.default
"""Encodes ``x`` ``[T, H]``, any strides: stored values ``[T, ...]`` and fp32 scales ``[T, blocks]``."""

decode_sum = torch.ops.tp_compression.decode_sum.default
"""Decodes ``[N, T, ...]`` and adds over N in fp32 and rank order: ``[T, width]``, rounded to ``dtype``."""

decode_sum_encode = torch.ops.tp_compression.decode_sum_encode.default
"""Decodes and adds like ``decode_sum``, and encodes the unrounded sum."""


def _checked(x: Tensor, form: Form) -> Form:
    if form.kind == "fp8_e4m3" and (capability := torch.cuda.get_device_capability(x.device)) < FP8_SINCE:
        raise MissingBackendError(
            f"the FP8 kernels need compute capability {FP8_SINCE[0]}.{FP8_SINCE[1]}, this GPU has "
            f"{capability[0]}.{capability[1]}; choose another codec, or backend='eager' for torch's own operations",
        )
    return form
