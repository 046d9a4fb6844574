"""Divides by 128, so that the largest value is clipped."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleBy128(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax * (127.0 / 128.0))


all_reduce = ScaleBy128()
