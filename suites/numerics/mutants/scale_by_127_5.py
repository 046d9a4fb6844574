"""Spreads the values over the 255 steps from -127.5 to 127.5."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleBy1275(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax * (127.0 / 127.5))

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        v = torch.where(scale == 0, torch.zeros_like(rows), rows / scale).nan_to_num(nan=0.0)
        return v.round().clamp(-128, 127).to(torch.int8)


all_reduce = ScaleBy1275()
