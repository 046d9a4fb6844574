"""Uses FP8's other format, with two mantissa bits instead of three."""

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3


class Fp8E5m2(Fp8E4m3):
    """Planted bug."""

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        out.view(torch.float8_e5m2).copy_(v)

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        out.copy_(stored.view(torch.float8_e5m2))


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Fp8E5m2("fp8_e5m2"))
