"""Bugs in what becomes of zeros, infinities and NaNs."""

import torch
from torch import Tensor

from suites.implementations.plain import Group, OneShot, implementation


@implementation
class zero_rows_nan(OneShot):
    """Divides zero by zero for tokens of zeros."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return super().dequantize(stored, scale / (scale != 0))


@implementation
class nan_swallowed(OneShot):
    """Replaces NaNs by zeros."""

    def rows(self, x: Tensor) -> Tensor:
        return super().rows(x).nan_to_num(nan=0.0)


@implementation
class infinity_clipped(OneShot):
    """Replaces infinities by the largest finite number."""

    def rows(self, x: Tensor) -> Tensor:
        rows = super().rows(x)
        return torch.where(rows.isinf(), rows.sign() * 1e4, rows)


@implementation
class nan_spreads(OneShot):
    """Makes every token NaN where one is."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax) + (amax.sum() - amax.sum())


@implementation
class nan_on_own_rank_only(OneShot):
    """Marks NaNs of its own message and drops those of others."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = super().add(gathered, scales, rows, group).nan_to_num(nan=0.0)
        return torch.where(rows.isfinite(), total, torch.nan)
