"""Fills its gather buffer once and reads it for ever."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class BufferStale(OneShot):
    """Planted bug."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        key = (part.shape, part.dtype, distributed.get_world_size(group))
        fresh = super().exchange(part, group)
        return self._buffers.setdefault(key, fresh)


all_reduce = BufferStale()
