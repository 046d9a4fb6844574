"""Reads memory in order, whatever the strides say."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class StridesIgnored(OneShot):
    """Planted bug."""

    def rows(self, x: Tensor) -> Tensor:
        in_order = torch.as_strided(x, (x.numel(),), (1,))
        return super().rows(in_order.view(x.shape))


all_reduce = StridesIgnored()
