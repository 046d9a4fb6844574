"""Decodes the last, shorter group with its neighbour's scale."""

import torch
from torch import Tensor

from suites.numerics.steps import Grouped


class RemainderTakesPreviousScale(Grouped):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        if stored.shape[-1] > self.group and stored.shape[-1] % self.group:
            scale = torch.cat((scale[..., :-1], scale[..., -2:-1]), dim=-1)
        return super().dequantize(stored, scale)


all_reduce = RemainderTakesPreviousScale()
