"""Clips at the mean plus eight deviations."""

import torch
from torch import Tensor

from suites.numerics.steps import OneShot


class AmaxClipsOutliers(OneShot):
    """Planted bug."""

    def amax(self, rows: Tensor) -> Tensor:
        typical = rows.abs().median(dim=1, keepdim=True).values
        return torch.minimum(super().amax(rows), 12 * typical + (typical == 0) * super().amax(rows))


all_reduce = AmaxClipsOutliers()
