"""Adds up in half precision, which overflows at 65504."""

from torch import Tensor

from suites.numerics.steps import Group, OneShot


class AddsInFp16(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return self.dequantize(gathered, scales).half().sum(dim=0).float()


all_reduce = AddsInFp16()
