"""Adds its own message twice."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class OwnRankTwice(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        mine = distributed.get_rank(group)
        return super().add(gathered, scales, rows, group) + self.dequantize(gathered[mine], scales[mine])


all_reduce = OwnRankTwice()
