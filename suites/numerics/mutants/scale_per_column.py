"""Takes the largest magnitude along the wrong axis."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScalePerColumn(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        return rows.abs().amax(dim=0).narrow(0, 0, 1).expand(len(rows), 1)


all_reduce = ScalePerColumn()
