"""Adds up in bf16."""

import torch
from torch import Tensor

from suites.numerics.steps import Group, OneShot


class AddsInBf16(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = torch.zeros_like(rows).bfloat16()
        for rank in range(len(gathered)):
            total += self.dequantize(gathered[rank], scales[rank]).bfloat16()
        return total.float()


all_reduce = AddsInBf16()
