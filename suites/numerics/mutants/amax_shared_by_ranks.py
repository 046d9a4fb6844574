"""Uses the largest of all ranks' magnitudes on every rank."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class AmaxSharedByRanks(OneShot):
    """Planted bug."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        self._group = group
        return super().__call__(x, group)

    def amax(self, rows: Tensor) -> Tensor:
        largest = super().amax(rows)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX, group=self._group)
        return largest


all_reduce = AmaxSharedByRanks()
