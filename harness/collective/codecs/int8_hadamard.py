"""INT8 in a rotated basis, where a spike is spread over its block instead of setting its scale."""

import torch
from torch import Tensor

from harness.collective.codec import Codec, Layout, Parts
from harness.collective.codecs.int8 import Int8
from harness.collective.codecs.scaled import SUBNORMAL_SLACK
from harness.collective.hadamard import BLOCK, block_mean, block_size, transform
from harness.collective.scratch import Scratch

_HEADROOM = 2.0**-4
"""Keeps sqrt(128) = 11.3 times the largest fp32 number finite; a power of two, so it costs no precision."""

_TRANSFORM_SLACK = 2 * 9 * 2.0**-24
"""Two transforms, each of seven additions, a division and a scaling in fp32."""


class Int8Hadamard(Codec):
    """Walsh-Hadamard transform in blocks of 128 columns, INT8 with a scale per block, and back.

    The idea of QuaRot (arXiv 2404.00456), applied to a message instead of a weight.
    """

    name = "int8_hadamard"

    def __init__(self) -> None:
        self._int8 = Int8("int8_group", BLOCK)

    def layout(self, width: int, dtype: torch.dtype) -> Layout:
        return self._int8.layout(width, dtype)

    def encode_into(self, x: Tensor, dtype: torch.dtype, out: Parts, scratch: Scratch) -> None:
        self._int8.encode_into(transform(x.float() * _HEADROOM), dtype, out, scratch)

    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        self._int8.decode_into(parts, dtype, out)
        torch.mul(transform(out), 1 / _HEADROOM, out=out)

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
