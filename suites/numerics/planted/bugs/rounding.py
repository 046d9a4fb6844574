"""Bugs in rounding to the grid and reading it back."""

import torch
from torch import Tensor

from suites.implementations.plain import OneShot, implementation


@implementation
class round_truncates(OneShot):
    """Rounds towards zero."""

    def round(self, v: Tensor) -> Tensor:
        return v.trunc()


@implementation
class round_floors(OneShot):
    """Rounds down."""

    def round(self, v: Tensor) -> Tensor:
        return v.floor()


@implementation
class round_ties_away(OneShot):
    """Rounds ties away from zero."""

    def round(self, v: Tensor) -> Tensor:
        return v.sign() * (v.abs() + 0.5).floor()


@implementation
class round_ties_up(OneShot):
    """Rounds ties up."""

    def round(self, v: Tensor) -> Tensor:
        return (v + 0.5).floor()


@implementation
class round_leans(OneShot):
    """Rounds with a small lean to one side."""

    def round(self, v: Tensor) -> Tensor:
        return (v + 0.02).round()


@implementation
class round_dithers(OneShot):
    """Rounds stochastically."""

    def round(self, v: Tensor) -> Tensor:
        return (v + torch.rand_like(v)).floor()


@implementation
class step_leans(OneShot):
    """Decodes each value a hundredth of a step too high."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return (stored.float() + 0.01) * scale
