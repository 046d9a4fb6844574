"""Packs pairs of columns and drops the last odd one."""

from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.int4 import Int4


class Int4Pairs(Int4):
    """Planted bug."""

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored, out)
        out[:, out.shape[1] // 2 * 2 :] = 0


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Int4Pairs("int4_odd_column_lost", group=32))
