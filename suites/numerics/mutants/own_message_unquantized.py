"""Adds its own message as it was, while its peers add what they decoded."""

from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class OwnMessageUnquantized(OneShot):
    """Planted bug."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        values = self.dequantize(gathered, scales)
        values[distributed.get_rank(group)] = rows
        return values.sum(dim=0)


all_reduce = OwnMessageUnquantized()
