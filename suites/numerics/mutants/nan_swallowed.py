"""Replaces NaNs by zeros."""

from torch import Tensor

from suites.numerics.steps import OneShot


class NanSwallowed(OneShot):
    """Planted bug."""

    def rows(self, x: Tensor) -> Tensor:
        return super().rows(x).nan_to_num(nan=0.0)


all_reduce = NanSwallowed()
