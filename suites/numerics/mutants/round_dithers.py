"""Rounds stochastically."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class RoundDithers(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return (v + torch.rand_like(v)).floor()


all_reduce = RoundDithers()
