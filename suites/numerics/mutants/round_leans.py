"""Rounds with a small lean to one side."""

from torch import Tensor

from suites.numerics.steps import OneShot


class RoundLeans(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return (v + 0.02).round()


all_reduce = RoundLeans()
