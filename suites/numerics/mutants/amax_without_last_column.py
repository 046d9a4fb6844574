"""Leaves the last column out of the largest magnitude."""

from torch import Tensor

from suites.numerics.steps import OneShot


class AmaxWithoutLastColumn(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        return super().amax(rows[:, :-1] if rows.shape[1] > 1 else rows)


all_reduce = AmaxWithoutLastColumn()
