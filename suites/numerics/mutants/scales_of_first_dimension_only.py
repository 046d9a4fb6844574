"""Sizes its scales for matrices, as SGLang 0.5.23 does."""

from torch import Tensor

from suites.numerics.steps import Group, OneShot


class ScalesOfFirstDimensionOnly(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        return super().amax(rows)[: self._first].repeat_interleave(len(rows) // self._first, dim=0)

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        self._first = x.shape[0] if x.dim() > 2 else max(1, x.numel() // max(1, x.shape[-1]))
        return super().__call__(x, group)


all_reduce = ScalesOfFirstDimensionOnly()
