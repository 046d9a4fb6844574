"""Integers in a rotated basis, where a spike is spread over its block instead of setting its scale."""

import torch
from torch import Tensor

from harness.collective.codec import Codec, Layout, Parts
from harness.collective.codecs.scaled import SUBNORMAL_SLACK, ScaledCodec
from harness.collective.hadamard import BLOCK, block_mean, block_size, transform
from harness.collective.scratch import Scratch

_HEADROOM = 2.0**-4
"""Keeps sqrt(128) = 11.3 times the largest fp32 number finite; a power of two, so it costs no precision."""

_TRANSFORM_SLACK = 2 * 10 * 2.0**-24
"""Two transforms, each of seven additions and a multiplication by a rounded constant, and a scaling in fp32."""


class Rotated(Codec):
    """Walsh-Hadamard transform in blocks of 128 columns, a grid of even steps with a scale per block, and back.

    The idea of QuaRot (arXiv 2404.00456), applied to a message instead of a weight. The transform is linear, so
    ranks' messages are added as they are, rotated: a sum is transformed back once, and one that is encoded again
    not at all.

    One scale a block, for INT4 as for INT8: rotated values are much alike (a spike is as large in all 128 of
    them, the rest nearly Gaussian), so that smaller groups gain less than their scales cost. On Gaussian data
    groups of 32 gain 1.7 dB for 0.75 bits an element, and a bit of precision is worth 6 dB.
    """

    def __init__(self, name: str, grid: type[ScaledCodec]) -> None:
        self.name = name
        self.grid = grid(name, BLOCK)

    def layout(self, width: int, dtype: torch.dtype) -> Layout:
        return self.grid.layout(width, dtype)

    def encode_into(self, x: Tensor, dtype: torch.dtype, out: Parts, scratch: Scratch) -> None:
        self.grid.encode_into(transform(x.float() * _HEADROOM), dtype, out, scratch)

    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        self.grid.decode_into(parts, dtype, out)
        torch.mul(transform(out), 1 / _HEADROOM, out=out)

    def decode_sum(self, gathered: Parts, width: int, dtype: torch.dtype, scratch: Scratch) -> Tensor:
        total = self.grid.decode_sum(gathered, width, dtype, scratch)
        return torch.mul(transform(total), 1 / _HEADROOM, out=total)

    def decode_sum_encode(
        self, gathered: Parts, width: int, dtype: torch.dtype, out: Parts, scratch: Scratch
    ) -> None:
        self.grid.decode_sum_encode(gathered, width, dtype, out, scratch)

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """``sqrt(n)`` times the rotated values' bound: all n errors of a block may align in one element.

        Far from what is seen (errors add up like noise, not in step), but no smaller bound holds for all x.
        """
        n = block_size(x.shape[-1]).to(x.device)
        magnitude = block_mean(x.abs() + margin)
        rotated = self.grid.error_bound(transform(x), dtype, n.sqrt() * block_mean(x.abs() * 0 + margin))
        subnormal = self.grid.largest * SUBNORMAL_SLACK / _HEADROOM
        return n.sqrt() * (rotated + subnormal) + _TRANSFORM_SLACK * n * magnitude

    def added_magnitude(self, magnitudes: Tensor) -> Tensor:
        """The block's mean, n times: ``sqrt(n)`` in a rotated value, as much in n such values' errors."""
        return block_size(magnitudes.shape[-1]).to(magnitudes.device) * block_mean(magnitudes)

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The rotated values' noise, spread evenly over each block by the orthonormal transform."""
        return block_mean(self.grid.noise_power(transform(x), dtype))
