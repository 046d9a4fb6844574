"""INT8 on a symmetric grid, per token or per group of columns."""

import torch
from torch import Tensor

from harness.collective.codecs.scaled import ScaledCodec


class Int8(ScaledCodec):
    """``q = rint(x / s)``, ties to even, |q| <= 127 and never -128, so that q(-x) = -q(x).

    The granularity and fp32 scales of SGLang's collective (PR 20520), with its sum taken in fp32.
    """

    largest = 127.0

    storage = torch.int8

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        out.copy_(v.round_())

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        out.copy_(stored)

    def grid_row_bytes(self, width: int) -> int:
        return width

    def half_step(self, v: Tensor) -> Tensor:
        return torch.full_like(v, 0.5)
