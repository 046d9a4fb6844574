"""Adds a stripe's messages in bf16."""

from torch import Tensor

from suites.numerics.steps import Group, TwoShot


class StripeSumInBf16(TwoShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return self.dequantize(gathered, scales).bfloat16().sum(dim=0).float()


all_reduce = StripeSumInBf16()
