"""Loses the tokens that the ranks do not divide evenly."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, TwoShot


class LastStripeLost(TwoShot):
    """Planted bug."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        out = super().__call__(x, group).view(-1, x.shape[-1])
        out[len(out) // distributed.get_world_size(group) * distributed.get_world_size(group) :] = 0
        return out.view(x.shape)


all_reduce = LastStripeLost()
