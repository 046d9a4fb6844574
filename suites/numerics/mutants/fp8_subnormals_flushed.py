"""Sets FP8's subnormal numbers to zero."""

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3


class Fp8SubnormalsFlushed(Fp8E4m3):
    """Planted bug."""

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        super().to_grid(torch.where(v.abs() < 2.0**-6, 0.0, v), out)


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Fp8SubnormalsFlushed("fp8_subnormals_flushed"))
