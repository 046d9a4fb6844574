"""Returns the same buffer from every call of a shape."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class ResultBufferShared(OneShot):
    """Planted bug."""

    def __init__(self) -> None:
        self._results: dict[tuple[object, ...], Tensor] = {}

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        kept = self._results.setdefault((x.shape, x.dtype), torch.empty_like(x))
        return kept.copy_(super().finish(total, x))


all_reduce = ResultBufferShared()
