"""Marks NaNs of its own message and drops those of others."""

import torch
from torch import Tensor

from suites.numerics.steps import Group, OneShot


class NanOnOwnRankOnly(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = super().add(gathered, scales, rows, group).nan_to_num(nan=0.0)
        return torch.where(rows.isfinite(), total, torch.nan)


all_reduce = NanOnOwnRankOnly()
