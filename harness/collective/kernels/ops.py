"""The kernels as torch operators, for ``torch.compile`` and CUDA graphs: ``torch.ops.tp_compression``.

They write their results to tensors given to them, as the backends do. Declared by their schemas:
``torch.library.custom_op`` does the same from annotations, and its checks at each call take about as long as
preparing the launch.
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
_LIBRARY.define(f"encode(Tensor x, Tensor(a!) stored, Tensor(b!) scales, {_FORM}) -> ()")
_LIBRARY.define(f"decode_sum(Tensor gathered, Tensor? scales, Tensor(a!) out, {_FORM}) -> ()")
_LIBRARY.define(
    f"decode_sum_encode(Tensor gathered, Tensor gathered_scales, Tensor(a!) stored, Tensor(b!) scales, int width, "
    f"{_FORM}) -> ()"
)
_LIBRARY.define("row_powers(Tensor x, Tensor(a!) out) -> ()")


@torch.library.impl(_LIBRARY, "encode", "CUDA")
def _encode(x: Tensor, stored: Tensor, scales: Tensor, *form: str | float | bool) -> None:
    own = _checked(x, Form._make(form))
    if not own.group and x.shape[1] > launch.LONGEST_ROW:
        raise MissingBackendError(
            f"the cuda backend takes rows of up to {launch.LONGEST_ROW} columns that share one scale, not "
            f"{x.shape[1]}; choose a codec with groups, or backend='eager'",
        )
    launch.encode(x, stored, scales, own)


@torch.library.impl(_LIBRARY, "decode_sum", "CUDA")
def _decode_sum(gathered: Tensor, scales: Tensor | None, out: Tensor, *form: str | float | bool) -> None:
    launch.decode_sum(gathered, scales, out, _checked(gathered, Form._make(form)))


@torch.library.impl(_LIBRARY, "decode_sum_encode", "CUDA")
def _decode_sum_encode(
    gathered: Tensor, gathered_scales: Tensor, stored: Tensor, scales: Tensor, width: int, *form: str | float | bool
) -> None:
    own = _checked(gathered, Form._make(form))
    launch.decode_sum_encode(gathered, gathered_scales, stored, scales, width, own)


@torch.library.impl(_LIBRARY, "row_powers", "CUDA")
def _row_powers(x: Tensor, out: Tensor) -> None:
    launch.row_powers(x, out)


@torch.library.register_fake("tp_compression::encode", lib=_LIBRARY)
@torch.library.register_fake("tp_compression::decode_sum", lib=_LIBRARY)
@torch.library.register_fake("tp_compression::decode_sum_encode", lib=_LIBRARY)
@torch.library.register_fake("tp_compression::row_powers", lib=_LIBRARY)
def _nothing(*_arguments: object) -> None:
    """What they write to is there already, so there are no shapes to tell."""


encode = torch.ops.tp_compression.encode.default
"""Encodes ``x`` ``[T, H]``, any strides, to stored values ``[T, ...]`` and fp32 scales ``[T, blocks]``."""

decode_sum = torch.ops.tp_compression.decode_sum.default
"""Decodes ``[N, T, ...]``, adds over N in fp32 and rank order, and rounds once to ``out`` ``[T, H]``."""

decode_sum_encode = torch.ops.tp_compression.decode_sum_encode.default
"""Decodes and adds like ``decode_sum``, and encodes the unrounded sum."""

row_powers = torch.ops.tp_compression.row_powers.default
"""What ``spared_rows.row_powers`` gives for ``x`` ``[T, H]``, any strides: fp32 ``[T]``."""


def _checked(x: Tensor, form: Form) -> Form:
    if form.kind == "fp8_e4m3" and (capability := torch.cuda.get_device_capability(x.device)) < FP8_SINCE:
        raise MissingBackendError(
            f"the FP8 kernels need compute capability {FP8_SINCE[0]}.{FP8_SINCE[1]}, this GPU has "
            f"{capability[0]}.{capability[1]}; choose another codec, or backend='eager' for torch's own operations",
        )
    return form
