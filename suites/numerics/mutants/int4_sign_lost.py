"""Reads four bits as a number from 0 to 15."""

from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.int4 import Int4


class Int4Unsigned(Int4):
    """Planted bug."""

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored, out)
        out.remainder_(16)


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Int4Unsigned("int4_sign_lost", group=32))
