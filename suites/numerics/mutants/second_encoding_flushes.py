"""Rounds sums of less than a step to zero."""

import torch
from torch import Tensor

from suites.numerics.steps import Group, TwoShot


class SecondEncodingFlushes(TwoShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = super().add(gathered, scales, rows, group)
        step = self.scale(self.amax(total))
        return torch.where(total.abs() < 0.99 * step, 0.0, total)


all_reduce = SecondEncodingFlushes()
