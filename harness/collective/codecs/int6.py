"""INT6 on a symmetric grid, four values to three bytes."""

import torch
from torch import Tensor

from harness.collective.codecs.scaled import ScaledCodec


class Int6(ScaledCodec):
    """``q = rint(x / s)``, ties to even, |q| <= 31, in two's complement of six bits.

    A row is two planes, one after the other: the low four bits of two values to a byte, even columns in the low
    nibble, and the high two bits of four values to a byte, the first in the lowest bits. Both end in a byte
    filled up with zeros where need be. Each plane is read as INT4 is, where 3-byte units would straddle words.
    """

    largest = 31.0

    storage = torch.uint8

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        codes = v.round_().to(torch.int8).view(torch.uint8)
        if fill := -codes.shape[-1] % 4:
            codes = torch.nn.functional.pad(codes, (0, fill))
        low, high = codes & 0x0F, (codes >> 4) & 0x03
        nibbles = -(-v.shape[-1] // 2)
        out[:, :nibbles] = (low[:, 0::2] | low[:, 1::2] << 4)[:, :nibbles]
        out[:, nibbles:] = high[:, 0::4] | high[:, 1::4] << 2 | high[:, 2::4] << 4 | high[:, 3::4] << 6

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        width = out.shape[1]
        low, high = stored[:, : -(-width // 2)], stored[:, -(-width // 2) :]
        codes = torch.stack((low & 0x0F, low >> 4), dim=-1).flatten(-2)[:, :width]
        pairs = torch.stack((high << 4, high << 2, high, high >> 2), dim=-1).flatten(-2)[:, :width]
        # Two's complement in six bits: flipping the sign bit and taking it off again extends the sign.
        out.copy_((codes | pairs & 0x30) ^ 0x20).sub_(32.0)

    def grid_row_bytes(self, width: int) -> int:
        return -(-width // 2) - (-width // 4)

    def half_step(self, v: Tensor) -> Tensor:
        return torch.full_like(v, 0.5)
