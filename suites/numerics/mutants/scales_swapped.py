"""Multiplies each rank's values by its neighbour's scales."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScalesSwapped(OneShot):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return super().dequantize(stored, scale.roll(1, dims=0))


all_reduce = ScalesSwapped()
