"""Gathers the values twice."""

from torch import Tensor

from suites.numerics.steps import Group, OneShot


class SendsTwice(OneShot):
    """Planted bug."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        super().exchange(part, group)
        return super().exchange(part, group)


all_reduce = SendsTwice()
