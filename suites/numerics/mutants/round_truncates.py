"""Rounds towards zero."""

from torch import Tensor

from suites.numerics.steps import OneShot


class RoundTruncates(OneShot):
    """Planted bug."""

    def round(self, v: Tensor) -> Tensor:
        return v.trunc()


all_reduce = RoundTruncates()
