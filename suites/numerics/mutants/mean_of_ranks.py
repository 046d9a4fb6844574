"""Averages over ranks instead of adding."""

from torch import Tensor

from suites.numerics.steps import Group, OneShot


class MeanOfRanks(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return super().add(gathered, scales, rows, group) / len(gathered)


all_reduce = MeanOfRanks()
