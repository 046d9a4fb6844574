"""Scales to 480 where the format ends at 448, and gets NaNs."""

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3


class Fp8Overflows(Fp8E4m3):
    """Planted bug."""

    largest = 480.0

    def to_grid(self, v: Tensor) -> Tensor:
        out = super().to_grid(v)
        return torch.where(v.abs() > 464, torch.full_like(out, 0x7F), out)


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Fp8Overflows("fp8_overflows"), backend="eager")
