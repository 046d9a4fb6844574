"""Returns the sum in fp32 whatever the input was."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ResultInFp32(OneShot):
    """Planted bug."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        return total.view(x.shape)


all_reduce = ResultInFp32()
