"""Bugs in what is sent."""

import torch
from torch import Tensor, distributed

from suites.implementations.plain import Group, OneShot, implementation


@implementation
class plain_in_disguise(OneShot):
    """Does a plain all-reduce and never compresses."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        total = x.to(torch.float32, copy=True)
        distributed.all_reduce(total, group=group)
        return total.to(x.dtype)


@implementation
class plain_for_short_messages(OneShot):
    """Compresses long messages only."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        if x.numel() >= 4096:
            return super().__call__(x, group)
        total = x.clone()
        distributed.all_reduce(total, group=group)
        return total


@implementation
class plain_after_quantizing(OneShot):
    """Rounds to the INT8 grid, then sends it in 16 bits."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        wide = part.half() if part.dtype == torch.int8 else part
        return super().exchange(wide, group)


@implementation
class sends_double_scales(OneShot):
    """Sends scales in double precision."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        if part.dtype == torch.float32:
            return super().exchange(part.double(), group).float()
        return super().exchange(part, group)


@implementation
class sends_twice(OneShot):
    """Gathers the values twice."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        super().exchange(part, group)
        return super().exchange(part, group)
