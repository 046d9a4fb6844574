"""Divides zero by zero for tokens of zeros."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ZeroRowsNan(OneShot):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return super().dequantize(stored, scale / (scale != 0))


all_reduce = ZeroRowsNan()
