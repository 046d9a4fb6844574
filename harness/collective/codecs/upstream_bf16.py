"""What SGLang 0.5.23 computes: scales, products and the sum's result in the message's own dtype."""

import torch
from torch import Tensor

from harness.collective.blocks import from_blocks
from harness.collective.codec import Parts
from harness.collective.codecs.npu_reciprocal import NpuReciprocal
from harness.collective.scratch import Scratch


class UpstreamBf16(NpuReciprocal):
    """``GroupCoordinator.quant_all_reduce`` of SGLang 0.5.23 over the A2/A3 kernel, bit for bit.

    fp32 scales travel, but are cast to the message's dtype before the multiplication, whose products and
    whose sum are rounded to it as well (``sglang/srt/distributed/parallel_state.py``).
    """

    rounds_sum = True

    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        out.copy_(self._products(parts, dtype))

    def decode_sum(self, gathered: Parts, width: int, dtype: torch.dtype, scratch: Scratch) -> Tensor:
        return self._products(gathered, dtype).sum(dim=0)

    def _products(self, parts: Parts, dtype: torch.dtype) -> Tensor:
        stored, scale = parts
        return stored.to(dtype) * scale.to(dtype)

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """Int8's plus ``|q| * s * (2u + u^2)``, u the dtype's unit roundoff.

        At |q| = 127 in bf16 that makes 1.494 s. Where the scale is subnormal in the dtype, casting it errs
        by up to half its smallest subnormal.
        """
        info = torch.finfo(dtype)
        u, smallest = info.eps / 2, info.tiny * info.eps
        v, scale = self._magnitudes(x.abs() + margin)
        casts = scale * (v + 0.5) * (2 * u + u * u) + (v + 1.5) * smallest / 2
        return super().error_bound(x, dtype, margin) + from_blocks(casts, x.shape[-1])

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Int8's plus the scale's own rounding error and the product's, uniform over a binade."""
        v, scale = self._magnitudes(x.abs())
        cast = scale.to(dtype).double() - scale
        product = v * scale
        spacing = torch.ldexp(torch.full_like(product, torch.finfo(dtype).eps), torch.frexp(product).exponent - 1)
        return super().noise_power(x, dtype) + from_blocks((v * cast).square() + spacing.square() / 12, x.shape[-1])
