"""Sends scales in half precision."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleInFp16(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax).half().float()


all_reduce = ScaleInFp16()
