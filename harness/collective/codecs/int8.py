"""INT8 on a symmetric grid, per token or per group of columns."""

import torch
from torch import Tensor

from harness.collective.codecs.scaled import ScaledCodec


class Int8(ScaledCodec):
    """``q = rint(x / s)``, ties to even, |q| <= 127 and never -128, so that q(-x) = -q(x).

    The granularity and fp32 scales of SGLang's collective (PR 20520), with its sum taken in fp32.
    """

    largest = 127.0

    def to_grid(self, v: Tensor) -> Tensor:
        return v.round_().to(torch.int8)

    def from_grid(self, stored: Tensor, width: int) -> Tensor:
        return stored.float()

    def grid_row_bytes(self, width: int) -> int:
        return width

    def half_step(self, v: Tensor) -> Tensor:
        return torch.full_like(v, 0.5)
