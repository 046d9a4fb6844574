"""Adds its own message first, so that ranks add in different orders."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class OwnRankFirst(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        mine = distributed.get_rank(group)
        return super().add(gathered.roll(-mine, 0), scales.roll(-mine, 0), rows, group)


all_reduce = OwnRankFirst()
