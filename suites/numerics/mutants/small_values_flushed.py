"""Rounds values up to 0.6 of a step to zero."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class SmallValuesFlushed(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return torch.where(v.abs() < 0.6, 0.0, v.round())


all_reduce = SmallValuesFlushed()
