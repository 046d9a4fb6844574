"""Rounds the sum to half precision on its way."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ResultByWayOfFp16(OneShot):
    """Planted bug."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        return super().finish(total.half().float(), x)


all_reduce = ResultByWayOfFp16()
