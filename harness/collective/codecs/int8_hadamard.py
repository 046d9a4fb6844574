"""INT8 in a rotated basis, where a spike is spread over its block instead of setting its scale."""

import torch
from torch import Tensor

from harness.collective.codec import Codec, Parts
from harness.collective.codecs.int8 import Int8
from harness.collective.codecs.scaled import SUBNORMAL_SLACK
from harness.collective.hadamard import BLOCK, block_mean, block_size, transform

_HEADROOM = 2.0**-4
"""Keeps sqrt(128) = 11.3 times the largest fp32 number finite; a power of two, so it costs no precision."""

_TRANSFORM_SLACK = 2 * 10 * 2.0**-24
"""Two transforms, each of seven additions and a multiplication by a rounded constant, and a scaling in fp32."""


class Int8Hadamard(Codec):
    """Walsh-Hadamard transform in blocks of 128 columns, INT8 with a scale per block, and back.

    The idea of QuaRot (arXiv 2404.00456), applied to a message instead of a weight.
    """

    name = "int8_hadamard"

    def __init__(self) -> None:
        self._int8 = Int8("int8_group", BLOCK)

    def encode(self, x: Tensor, dtype: torch.dtype) -> Parts:
        return self._int8.encode(transform(x.float() * _HEADROOM), dtype)

    def decode(self, parts: Parts, width: int, dtype: torch.dtype) -> Tensor:
        return transform(self._int8.decode(parts, width, dtype)).mul_(1 / _HEADROOM)

    def row_bytes(self, width: int, dtype: torch.dtype) -> int:
        return self._int8.row_bytes(width, dtype)

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """``sqrt(n)`` times the rotated values' bound: all n errors of a block may align in one element.

        Far from what is seen (errors add up like noise, not in step), but no smaller bound holds for all x.
        """
        n = block_size(x.shape[-1]).to(x.device)
        magnitude = block_mean(x.abs() + margin)
        rotated = self._int8.error_bound(transform(x), dtype, n.sqrt() * block_mean(x.abs() * 0 + margin))
        subnormal = self._int8.largest * SUBNORMAL_SLACK / _HEADROOM
        return n.sqrt() * (rotated + subnormal) + _TRANSFORM_SLACK * n * magnitude

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The rotated values' noise, spread evenly over each block by the orthonormal transform."""
        return block_mean(self._int8.noise_power(transform(x), dtype))
