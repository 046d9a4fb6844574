"""Counts rank 0 a little more than the others."""

from torch import Tensor

from suites.numerics.steps import OneShot


class FirstRankWeighsMore(OneShot):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        values = super().dequantize(stored, scale)
        values[0] *= 1.0001
        return values


all_reduce = FirstRankWeighsMore()
