"""Uses the first token's scale for every token."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ScaleOfFirstRow(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        return super().amax(rows)[:1].expand(len(rows), 1)


all_reduce = ScaleOfFirstRow()
