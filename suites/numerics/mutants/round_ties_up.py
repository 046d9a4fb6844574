"""Rounds ties up."""

from torch import Tensor

from suites.numerics.steps import OneShot


class RoundTiesUp(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return (v + 0.5).floor()


all_reduce = RoundTiesUp()
