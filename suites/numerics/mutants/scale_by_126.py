"""Divides by 126 and wastes a step on either side."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleBy126(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax * (127.0 / 126.0))


all_reduce = ScaleBy126()
