"""Rounds ties away from zero."""

from torch import Tensor

from suites.numerics.steps import OneShot


class RoundTiesAway(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return v.sign() * (v.abs() + 0.5).floor()


all_reduce = RoundTiesAway()
