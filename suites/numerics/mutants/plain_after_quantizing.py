"""Rounds to the INT8 grid, then sends it in 16 bits."""

import torch
from torch import Tensor

from suites.numerics.steps import Group, OneShot


class PlainAfterQuantizing(OneShot):
    """Planted bug."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        wide = part.half() if part.dtype == torch.int8 else part
        return super().exchange(wide, group)


all_reduce = PlainAfterQuantizing()
