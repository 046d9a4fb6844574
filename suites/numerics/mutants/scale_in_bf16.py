"""Rounds scales to bf16 before the multiplication, as SGLang 0.5.23 does."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleInBf16(OneShot):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return stored.float() * scale.bfloat16().float()


all_reduce = ScaleInBf16()
