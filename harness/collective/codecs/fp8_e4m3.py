"""FP8 e4m3: a floating-point grid, whose step follows each value's own magnitude."""

import torch
from torch import Tensor

from harness.collective.codecs.scaled import ScaledCodec

_SMALLEST_NORMAL = 2.0**-6


class Fp8E4m3(ScaledCodec):
    """``torch.float8_e4m3fn`` (no infinities, largest 448), rounded to nearest even, sent as raw bytes.

    The format of Micikevicius et al., "FP8 Formats for Deep Learning" (arXiv 2209.05433). Bytes, because
    not every collective backend knows the dtype.
    """

    largest = 448.0

    storage = torch.uint8

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        out.view(torch.float8_e4m3fn).copy_(v)

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        out.copy_(stored.view(torch.float8_e4m3fn))

    def grid_row_bytes(self, width: int) -> int:
        return width

    def half_step(self, v: Tensor) -> Tensor:
        """``2^(floor(log2 v) - 4)``: three mantissa bits; constant below the smallest normal."""
        exponent = torch.frexp(v.clamp_min(_SMALLEST_NORMAL)).exponent - 1
        return torch.ldexp(torch.ones_like(v), exponent - 4)
