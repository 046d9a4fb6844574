"""Clamps to 120 instead of 127."""

from torch import Tensor

from suites.numerics.steps import OneShot


class ClampAt120(OneShot):
    """Planted bug."""

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        return super().store(rows, scale).clamp(-120, 120)


all_reduce = ClampAt120()
