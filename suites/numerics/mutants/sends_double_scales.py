"""Sends scales in double precision."""

import torch
from torch import Tensor

from suites.numerics.steps import Group, OneShot


class SendsDoubleScales(OneShot):
    """Planted bug."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        if part.dtype == torch.float32:
            return super().exchange(part.double(), group).float()
        return super().exchange(part, group)


all_reduce = SendsDoubleScales()
