"""Bugs in two-shot's stripes and its second encoding."""

import torch
from torch import Tensor, distributed

from suites.implementations.plain import Group, TwoShot, implementation


@implementation
class own_stripe_unquantized(TwoShot):
    """Keeps its own stripe of the sum as it was, while its peers decode it."""

    def join(self, out: Tensor, total: Tensor, group: Group) -> Tensor:
        out[distributed.get_rank(group)] = total
        return out


@implementation
class stripes_out_of_order(TwoShot):
    """Puts the stripes of the sum together in another order."""

    def join(self, out: Tensor, total: Tensor, group: Group) -> Tensor:
        return out.flip(0)


@implementation
class last_stripe_lost(TwoShot):
    """Loses the tokens that the ranks do not divide evenly."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        out = super().__call__(x, group).view(-1, x.shape[-1])
        out[len(out) // distributed.get_world_size(group) * distributed.get_world_size(group) :] = 0
        return out.view(x.shape)


@implementation
class stripe_sum_in_bf16(TwoShot):
    """Adds a stripe's messages in bf16."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return self.dequantize(gathered, scales).bfloat16().sum(dim=0).float()


@implementation
class second_encoding_skipped(TwoShot):
    """Sends the sums in 16 bits."""

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        wide = part.half() if part.dtype == torch.int8 else part
        return super().exchange(wide, group)


@implementation
class second_encoding_flushes(TwoShot):
    """Rounds sums of less than a step to zero."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = super().add(gathered, scales, rows, group)
        step = self.scale(self.amax(total))
        return torch.where(total.abs() < 0.99 * step, 0.0, total)
