"""Rounds down."""

from torch import Tensor

from suites.numerics.steps import OneShot


class RoundFloors(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return v.floor()


all_reduce = RoundFloors()
