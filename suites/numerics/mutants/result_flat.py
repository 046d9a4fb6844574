"""Returns a matrix for a tensor of more dimensions."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ResultFlat(OneShot):
    """Planted bug."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        return total.to(x.dtype)


all_reduce = ResultFlat()
