"""Replaces infinities by the largest finite number."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class InfinityClipped(OneShot):
    """Planted bug."""

    def rows(self, x: Tensor) -> Tensor:
        rows = super().rows(x)
        return torch.where(rows.isinf(), rows.sign() * 1e4, rows)


all_reduce = InfinityClipped()
