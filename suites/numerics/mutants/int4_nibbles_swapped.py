"""Reads the two values of a byte in the wrong order."""

from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.int4 import Int4


class Int4Swapped(Int4):
    """Planted bug."""

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored << 4 | stored >> 4, out)


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Int4Swapped("int4_nibbles_swapped", group=32))
