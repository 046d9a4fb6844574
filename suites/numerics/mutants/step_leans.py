"""Decodes each value a hundredth of a step too high."""

from torch import Tensor

from suites.numerics.steps import OneShot


class StepLeans(OneShot):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return (stored.float() + 0.01) * scale


all_reduce = StepLeans()
