"""Divides the input by its scale in place."""

from torch import Tensor

from suites.numerics.steps import OneShot


class InputOverwritten(OneShot):
    """Planted bug."""

    def rows(self, x: Tensor) -> Tensor:
        rows = super().rows(x)
        x.div_(2)
        return rows


all_reduce = InputOverwritten()
