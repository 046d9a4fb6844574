"""Fills the last group up with ones before it takes the largest magnitude."""

from torch import Tensor

from suites.numerics.steps import Grouped


class RemainderPaddedWithOnes(Grouped):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        largest = super().amax(rows)
        return largest if rows.shape[1] == self.group else largest.clamp_min(1.0)


all_reduce = RemainderPaddedWithOnes()
