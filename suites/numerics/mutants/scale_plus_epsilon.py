"""Adds an epsilon to keep clear of a division by zero."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScalePlusEpsilon(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax + 1e-8)


all_reduce = ScalePlusEpsilon()
