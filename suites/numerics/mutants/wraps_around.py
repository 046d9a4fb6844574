"""Lets the largest values wrap around."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class WrapsAround(OneShot):
    """Planted bug."""

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        return (rows / scale * (129.0 / 127.0)).round().to(torch.int32).to(torch.int8)


all_reduce = WrapsAround()
