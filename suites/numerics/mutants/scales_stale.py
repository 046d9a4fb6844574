"""Keeps the scales of the first call of each shape."""

import torch
from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class ScalesStale(OneShot):
    """Planted bug."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        fresh = super().exchange(part, group)
        if part.dtype == torch.int8:
            return fresh
        return self._buffers.setdefault((part.shape, distributed.get_world_size(group)), fresh)


all_reduce = ScalesStale()
