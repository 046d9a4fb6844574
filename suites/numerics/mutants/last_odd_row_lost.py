"""Works on pairs of tokens and forgets an odd one."""

from torch import Tensor

from suites.numerics.steps import OneShot


class LastOddRowLost(OneShot):
    """Planted bug."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        total[len(total) // 2 * 2 :] = 0
        return super().finish(total, x)


all_reduce = LastOddRowLost()
