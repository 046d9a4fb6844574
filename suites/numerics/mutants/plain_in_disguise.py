"""Does a plain all-reduce and never compresses."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class PlainInDisguise(OneShot):
    """Planted bug."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        total = x.float()
        total = total.clone()
        distributed.all_reduce(total, group=group)
        return total.to(x.dtype)


all_reduce = PlainInDisguise()
