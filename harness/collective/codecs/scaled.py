"""What the scaled codecs share: values on a small grid, and one fp32 scale per token or group."""

from abc import abstractmethod

import torch
from torch import Tensor

from harness.collective.blocks import from_blocks, group_count, to_blocks
from harness.collective.codec import Codec, Layout, Parts
from harness.collective.scratch import Scratch

FP32_SLACK = 4 * 2.0**-23
"""Relative error of the scale, the quotient, the product and the addition to the sum, each in fp32."""

SUBNORMAL_SLACK = 2.0**-149
"""Absolute error of one fp32 operation among subnormal numbers, where relative precision is lost."""


FEW_STEPS = 8
"""Where a normal distribution's density may still change over one step."""


class ScaledCodec(Codec):
    """Stores ``round(x / s)`` with ``s = amax / largest``, where ``amax`` is the block's largest magnitude.

    A row of zeros has scale zero and stays zero. A block that holds a NaN or an infinity gets the scale
    NaN, so that every rank decodes all of it to NaN, and no other block changes.
    """

    largest: float
    """The grid's largest value."""

    storage: torch.dtype
    """Of the stored values, one byte wide."""

    def __init__(self, name: str, group: int | None = None) -> None:
        self.name = name
        self.group = group

    @abstractmethod
    def to_grid(self, v: Tensor, out: Tensor) -> None:
        """Rounds fp32 values in [-largest, largest] to the grid's storage. May write to ``v``."""

    @abstractmethod
    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        """Reads storage back to fp32 ``[T, width]``."""

    @abstractmethod
    def grid_row_bytes(self, width: int) -> int:
        """Bytes of ``width`` stored values."""

    @abstractmethod
    def half_step(self, v: Tensor) -> Tensor:
        """Half the distance between the grid's neighbours around magnitude ``v`` (fp64, scale 1)."""

    def normalize(self, blocks: Tensor, amax: Tensor) -> Tensor:
        """Divides each block by its scale, in place; returns the scales."""
        # Divided by a tensor: by a number, CUDA's torch multiplies with a reciprocal, an error in the last bit.
        scale = amax / amax.new_full((), self.largest)
        # The scale is zero for a row of zeros, and for one so small that fp32 has no number for it.
        blocks.div_(torch.where(scale == 0, torch.inf, scale))
        return scale

    def layout(self, width: int, dtype: torch.dtype) -> Layout:
        return (self.grid_row_bytes(width), self.storage), (group_count(width, self.group), torch.float32)

    def encode_into(self, x: Tensor, dtype: torch.dtype, out: Parts, scratch: Scratch) -> None:
        rows, width = x.shape
        groups, size = group_count(width, self.group), self.group or width
        shape = (rows, groups, size)
        blocks = scratch.tensor("values", shape, x.device)
        filled_up = blocks.view(rows, groups * size)
        v = filled_up[:, :width]
        v.copy_(x)
        if groups * size > width:
            filled_up[:, width:].zero_()
        amax = torch.abs(blocks, out=scratch.tensor("spare", shape, x.device)).amax(dim=-1, keepdim=True)
        scale = self.normalize(blocks, amax)
        # Only among subnormals can a quotient leave the grid: the scale's own rounding is coarse there.
        blocks.clamp_(-self.largest, self.largest)
        # A NaN here is stored as some arbitrary value; its block's NaN scale decides what it decodes to.
        self.to_grid(v, out[0])
        out[1].copy_(torch.where(amax < torch.inf, scale, torch.nan).squeeze(-1))

    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        stored, scale = parts
        self.from_grid(stored, out)
        if scale.shape[1] == 1:
            out.mul_(scale)
            return
        assert self.group is not None  # noqa: S101 - there are several
        rows, width = out.shape
        whole = width // self.group
        columns = whole * self.group
        out[:, :columns].view(rows, whole, self.group).mul_(scale[:, :whole].unsqueeze(-1))
        if columns < width:
            out[:, columns:].mul_(scale[:, whole:])

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """``s * (half_step + largest * c * 2^-23)``, c = 4, plus what subnormal scales lose.

        A margin makes the scale uncertain too: the largest one is taken for s, and the smallest one for
        where on the grid a value lies, whose steps grow with its distance from zero.
        """
        v, scale = self._magnitudes(x.abs() + margin)
        if isinstance(margin, Tensor):
            _, smallest = self._magnitudes((x.abs() - margin).clamp_min(0.0))
            v = (v * scale / smallest).nan_to_num(nan=0.0).clamp_max(self.largest)
        bound = scale * (self.half_step(v) + self.largest * FP32_SLACK) + self.largest * SUBNORMAL_SLACK
        return from_blocks(bound, x.shape[-1])

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """``step^2 / 12`` (Bennett 1948, high-resolution noise), but for two kinds of values.

        Fewer than ``FEW_STEPS`` steps from zero the data's density is not flat over a step, and what rounding
        takes off is computed. A block's largest magnitude lies on the grid and has no error: one value in 32
        is worth 0.14 dB.
        """
        v, scale = self._magnitudes(x.abs())
        step = 2 * self.half_step(v)
        few = v < FEW_STEPS * 2 * self.half_step(torch.zeros_like(v))
        noise = torch.where(few, (v - step * (v / step).round()).square(), step.square() / 12)
        noise[v >= self.largest * (1 - 2.0**-40)] = 0
        return from_blocks(noise * scale.square(), x.shape[-1])

    def _magnitudes(self, magnitudes: Tensor) -> tuple[Tensor, Tensor]:
        """Each block in units of its scale, ``[..., groups, size]``, and the scales, ``[..., groups, 1]``."""
        blocks = to_blocks(magnitudes, self.group)
        scale = blocks.amax(dim=-1, keepdim=True) / self.largest
        return blocks / torch.where(scale == 0, 1.0, scale), scale
