"""Puts the stripes of the sum together in another order."""

from torch import Tensor

from suites.numerics.steps import Group, TwoShot


class StripesOutOfOrder(TwoShot):
    """Planted bug."""

    def join(self, out: Tensor, total: Tensor, group: Group) -> Tensor:
        return out.flip(0)


all_reduce = StripesOutOfOrder()
