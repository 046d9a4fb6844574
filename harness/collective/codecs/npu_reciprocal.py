"""The arithmetic of the A2/A3 kernel behind ``torch_npu.npu_dynamic_quant``."""

import torch
from torch import Tensor

from harness.collective.blocks import from_blocks, to_blocks
from harness.collective.codecs.int8 import Int8


class NpuReciprocal(Int8):
    """``inv = 127 / amax`` in fp32, ``q = rint(x * inv)``, and ``1 / inv`` as the stored scale.

    Not bit-equal to ``amax / 127``, and bound by the same formula. Rows whose reciprocal overflows fp32
    (amax below 127 / 3.4e38 = 3.7e-37) are lost: their stored scale is zero. Source: torch_npu 2.13.0's
    documentation of the operator; not compared with hardware.
    """

    def normalize(self, blocks: Tensor, amax: Tensor) -> Tensor:
        # A tensor divided by a tensor: of a number, torch takes the reciprocal times that number, rounding twice.
        inverse = amax.new_full((), self.largest) / amax
        # Zero times infinity: the kernel's result for rows of zeros is undocumented, ours stays zero.
        blocks.mul_(torch.where(inverse.isinf(), 0.0, inverse))
        return 1.0 / inverse

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """Int8's, or all of a row that is lost."""
        bound = super().error_bound(x, dtype, margin)
        blocks = to_blocks(x.abs() + margin, self.group)
        lost = blocks.amax(dim=-1, keepdim=True) <= self.largest / torch.finfo(torch.float32).max
        return torch.where(from_blocks(lost.expand_as(blocks), x.shape[-1]), bound + x.abs() + margin, bound)
