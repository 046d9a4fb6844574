"""NVIDIA GPUs: one fused kernel for each of a backend's three steps, written in Triton."""

from types import ModuleType

import torch
from torch import Tensor

from harness.collective.backends.base import Backend, MissingBackendError
from harness.collective.backends.eager import Eager
from harness.collective.codec import Codec, Parts
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3
from harness.collective.codecs.int4 import Int4
from harness.collective.codecs.int6 import Int6
from harness.collective.codecs.int8 import Int8
from harness.collective.codecs.none import NoCompression
from harness.collective.codecs.npu_reciprocal import NpuReciprocal
from harness.collective.codecs.rotated import Rotated
from harness.collective.codecs.scaled import ScaledCodec
from harness.collective.codecs.spared_columns import SparedColumns
from harness.collective.codecs.upstream_bf16 import UpstreamBf16
from harness.collective.kernels.form import PLAIN, Form
from harness.collective.scratch import Scratch

_KINDS: dict[type[Codec], str] = {
    Int8: "int8",
    Fp8E4m3: "fp8_e4m3",
    Int4: "int4",
    Int6: "int6",
    NpuReciprocal: "int8",
    UpstreamBf16: "int8",
}


class Cuda(Backend):
    """Reads what was sent once and writes what is to be sent once; the bits are those of the CPU.

    Some steps are left to torch's own operations, by choice: codec ``none`` encodes by a copy, and what
    ``upstream_bf16`` decodes and adds is by definition what torch makes of SGLang's line of code, on the
    device at hand; spared columns are copied beside their base codec's kernels, one by one, and spared rows are
    sorted and copied once a kernel has found their crests. The stored values of a block that holds a NaN or an
    infinity are as arbitrary as on the CPU, and others; its scale is NaN on both.
    """

    name = "cuda"

    def __init__(self) -> None:
        self._eager = Eager()

    def encode(self, codec: Codec, x: Tensor, out: Parts) -> None:
        if isinstance(codec, SparedColumns):
            self.encode(codec.base, codec.rest(x, torch.empty_like(x)), out[:-1])
            codec.take(x, out[-1])
            return
        form, kernels = _form(codec), _kernels(x)
        if form.kind == PLAIN:
            self._eager.encode(codec, x, out)
        else:
            kernels.encode(x, *out, *form)

    def decode_sum(self, codec: Codec, gathered: Parts, out: Tensor) -> None:
        if isinstance(codec, SparedColumns):
            self.decode_sum(codec.base, gathered[:-1], out)
            codec.put(codec.columns_sum(gathered[-1]), out)
            return
        form, kernels = _form(codec), _kernels(gathered[0])
        if codec.rounds_sum:
            self._eager.decode_sum(codec, gathered, out)
        else:
            kernels.decode_sum(gathered[0], None if form.kind == PLAIN else gathered[1], out, *form)

    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype, out: Parts) -> None:
        if isinstance(codec, SparedColumns):
            self.decode_sum_encode(codec.base, gathered[:-1], width, dtype, out[:-1])
            out[-1].copy_(codec.columns_sum(gathered[-1]))
            return
        form, kernels = _form(codec), _kernels(gathered[0])
        if form.kind == PLAIN:
            self.decode_sum(codec, gathered, out[0])
        elif codec.rounds_sum:
            self.encode(codec, codec.decode_sum(gathered, width, dtype, Scratch()), out)
        else:
            kernels.decode_sum_encode(*gathered, *out, width, *form)

    def row_powers(self, x: Tensor) -> Tensor:
        out = torch.empty(len(x), dtype=torch.float32, device=x.device)
        _kernels(x).row_powers(x, out)
        return out


def _form(codec: Codec) -> Form:
    """The codec's form for the kernels. A subclass of a known codec may do something else: it has none."""
    kind = type(codec)
    if kind is NoCompression:
        return Form(PLAIN)
    if isinstance(codec, Rotated):
        return _form(codec.grid)._replace(hadamard=True)
    if kind not in _KINDS or not isinstance(codec, ScaledCodec):
        raise MissingBackendError(
            f"the cuda backend has no kernel for codec {codec.name!r}; choose backend='eager' for its own operations",
        )
    if kind is Int4 and (codec.group or 0) % 2:
        raise MissingBackendError(
            f"the cuda backend packs two INT4 values to a byte and takes no odd group, such as {codec.group}; "
            "choose an even one, or backend='eager'",
        )
    if kind is Int6 and (codec.group is None or codec.group % 4):
        raise MissingBackendError(
            f"the cuda backend packs four INT6 values to three bytes and takes groups of a multiple of 4, not "
            f"{codec.group}; choose one, or backend='eager'",
        )
    return Form(_KINDS[kind], codec.largest, codec.group or 0, reciprocal=isinstance(codec, NpuReciprocal))


def _kernels(x: Tensor) -> ModuleType:
    """The operators, once it is clear that they can run on ``x``."""
    if x.device.type != "cuda":
        raise MissingBackendError(
            f"the cuda backend takes CUDA tensors, not {x.device.type} ones; leave out backend=... to get the one "
            "for the device",
        )
    try:
        from harness.collective.kernels import ops  # noqa: PLC0415 - CPU builds of torch come without Triton
    except ImportError as error:
        raise MissingBackendError(
            f"the cuda backend needs Triton, whose import failed: {error}; install it (torch's CUDA builds for "
            "Linux bring it along), or choose backend='eager'",
        ) from error
    return ops
