"""Works on at most 2048 tokens."""

from torch import Tensor

from suites.numerics.steps import OneShot


class LongMessagesCut(OneShot):
    """Planted bug."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        total[2048:] = 0
        return super().finish(total, x)


all_reduce = LongMessagesCut()
