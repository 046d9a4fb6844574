"""Rounds in place, which is the input itself where no cast was needed."""

from torch import Tensor

from suites.numerics.steps import OneShot


class InputOverwrittenInFp32(OneShot):
    """Planted bug."""

    def rows(self, x: Tensor) -> Tensor:
        return x.float().reshape(-1, x.shape[-1])

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        stored = super().store(rows, scale)
        rows.div_(scale)
        return stored


all_reduce = InputOverwrittenInFp32()
