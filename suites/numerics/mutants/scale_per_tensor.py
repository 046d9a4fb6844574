"""Has one scale for all tokens."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScalePerTensor(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        return rows.abs().amax().expand(len(rows), 1)


all_reduce = ScalePerTensor()
