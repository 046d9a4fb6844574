"""Cuts the sum to bf16 instead of rounding it."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class ResultTruncated(OneShot):
    """Planted bug."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            total = (total.view(torch.int32) & -65536).view(torch.float32)
        return super().finish(total, x)


all_reduce = ResultTruncated()
