"""Makes every token NaN where one is."""

from torch import Tensor

from suites.numerics.steps import OneShot


class NanSpreads(OneShot):
    """Planted bug."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax) + (amax.sum() - amax.sum())


all_reduce = NanSpreads()
