"""Keeps scales from falling below 1e-5, so that small tokens fade."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleFloored(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax).clamp_min(1e-5)


all_reduce = ScaleFloored()
