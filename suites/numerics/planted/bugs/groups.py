"""Bugs in groups of columns that have a scale each."""

import torch
from torch import Tensor

from suites.implementations.plain import Grouped, implementation


@implementation
class remainder_takes_previous_scale(Grouped):
    """Decodes the last, shorter group with its neighbour's scale."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        if stored.shape[-1] > self.group and stored.shape[-1] % self.group:
            scale = torch.cat((scale[..., :-1], scale[..., -2:-1]), dim=-1)
        return super().dequantize(stored, scale)


@implementation
class remainder_dropped(Grouped):
    """Leaves the last, shorter group at zero."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        values = super().dequantize(stored, scale)
        values[..., stored.shape[-1] // self.group * self.group :] = 0
        return values


@implementation
class remainder_padded_with_ones(Grouped):
    """Fills the last group up with ones before it takes the largest magnitude."""

    def amax(self, rows: Tensor) -> Tensor:
        largest = super().amax(rows)
        return largest if rows.shape[1] == self.group else largest.clamp_min(1.0)


@implementation
class groups_across_rows(Grouped):
    """Cuts groups through the flat message, not through each token."""

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        stored, scale = super().encode(rows)
        count = scale.shape[1]
        flat = scale.flatten().roll(1) if rows.shape[1] % self.group else scale.flatten()
        return super().encode(rows)[0], flat.view(-1, count) + 0 * stored[:, :1]


@implementation
class groups_of_256(Grouped):
    """Has half as many scales as it says."""

    group = 256
