"""Scales to 440 where the format ends at 448."""

from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3


class Fp8ScaleBy440(Fp8E4m3):
    """Planted bug."""

    largest = 440.0


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    return quant_all_reduce(x, group, codec=Fp8ScaleBy440("fp8_scale_by_440"), backend="eager")
