"""Leaves four codes unused on each side, which costs 0.28 dB."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleBy123(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax) * (127 / 123)


all_reduce = ScaleBy123()
