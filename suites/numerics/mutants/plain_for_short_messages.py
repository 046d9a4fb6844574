"""Compresses long messages only."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class PlainForShortMessages(OneShot):
    """Planted bug."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        if x.numel() >= 4096:
            return super().__call__(x, group)
        total = x.clone()
        distributed.all_reduce(total, group=group)
        return total


all_reduce = PlainForShortMessages()
