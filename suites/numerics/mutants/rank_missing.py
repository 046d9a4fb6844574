"""Leaves the last rank out of the sum."""

from torch import Tensor

from suites.numerics.steps import Group, OneShot


class RankMissing(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return super().add(gathered[:-1], scales[:-1], rows, group)


all_reduce = RankMissing()
