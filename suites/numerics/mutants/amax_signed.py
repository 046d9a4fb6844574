"""Takes the largest value for the largest magnitude."""

from torch import Tensor

from suites.numerics.steps import OneShot


class AmaxSigned(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        return rows.amax(dim=1, keepdim=True)


all_reduce = AmaxSigned()
