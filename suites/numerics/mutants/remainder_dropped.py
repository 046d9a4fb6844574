"""Leaves the last, shorter group at zero."""

from torch import Tensor

from suites.numerics.steps import Grouped


class RemainderDropped(Grouped):
    """Planted bug."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        values = super().dequantize(stored, scale)
        values[..., stored.shape[-1] // self.group * self.group :] = 0
        return values


all_reduce = RemainderDropped()
