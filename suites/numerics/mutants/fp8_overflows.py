"""Scales to 480 where the format ends at 448, and gets NaNs."""

from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3


class Fp8Overflows(Fp8E4m3):
    """Planted bug."""

    largest = 480.0

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        super().to_grid(v, out)
        out.masked_fill_(v.abs() > 464, 0x7F)


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Fp8Overflows("fp8_overflows"))
