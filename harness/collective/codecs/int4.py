"""INT4 on a symmetric grid, two values to a byte."""

import torch
from torch import Tensor

from harness.collective.codecs.scaled import ScaledCodec


class Int4(ScaledCodec):
    """``q = rint(x / s)``, ties to even, |q| <= 7; even columns in the low nibble, odd ones in the high.

    A row of odd width ends in a byte whose high nibble is zero.
    """

    largest = 7.0

    storage = torch.uint8

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        nibbles = v.round_().to(torch.int8).view(torch.uint8).bitwise_and_(0x0F)
        if nibbles.shape[-1] % 2:
            nibbles = torch.nn.functional.pad(nibbles, (0, 1))
        torch.bitwise_or(nibbles[..., 0::2], nibbles[..., 1::2] << 4, out=out)

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        nibbles = torch.stack((stored & 0x0F, stored >> 4), dim=-1).flatten(-2)[..., : out.shape[1]]
        # Two's complement in four bits: flipping the sign bit and taking it off again extends the sign.
        out.copy_(nibbles ^ 0x08).sub_(8.0)

    def grid_row_bytes(self, width: int) -> int:
        return -(-width // 2)

    def half_step(self, v: Tensor) -> Tensor:
        return torch.full_like(v, 0.5)
