"""Multiplies values and scales in bf16."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ProductsInBf16(OneShot):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return (stored.bfloat16() * scale.bfloat16()).float()


all_reduce = ProductsInBf16()
