"""Bugs in adding the ranks' messages and rounding the sum."""

import torch
from torch import Tensor, distributed

from suites.implementations.plain import Group, OneShot, implementation


@implementation
class rank_missing(OneShot):
    """Leaves the last rank out of the sum."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return super().add(gathered[:-1], scales[:-1], rows, group)


@implementation
class own_rank_twice(OneShot):
    """Adds its own message twice."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        mine = distributed.get_rank(group)
        return super().add(gathered, scales, rows, group) + self.dequantize(gathered[mine], scales[mine])


@implementation
class mean_of_ranks(OneShot):
    """Averages over ranks instead of adding."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return super().add(gathered, scales, rows, group) / len(gathered)


@implementation
class own_message_unquantized(OneShot):
    """Adds its own message as it was, while its peers add what they decoded."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        values = self.dequantize(gathered, scales)
        values[distributed.get_rank(group)] = rows
        return values.sum(dim=0)


@implementation
class own_rank_first(OneShot):
    """Adds its own message first, so that ranks add in different orders."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        mine = distributed.get_rank(group)
        return super().add(gathered.roll(-mine, 0), scales.roll(-mine, 0), rows, group)


@implementation
class first_rank_weighs_more(OneShot):
    """Counts rank 0 a little more than the others."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        values = super().dequantize(stored, scale)
        values[0] *= 1.0001
        return values


@implementation
class adds_in_bf16(OneShot):
    """Adds up in bf16."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = torch.zeros_like(rows).bfloat16()
        for rank in range(len(gathered)):
            total += self.dequantize(gathered[rank], scales[rank]).bfloat16()
        return total.float()


@implementation
class adds_in_fp16(OneShot):
    """Adds up in half precision, which overflows at 65504."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return self.dequantize(gathered, scales).half().sum(dim=0).float()


@implementation
class products_in_bf16(OneShot):
    """Multiplies values and scales in bf16."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return (stored.bfloat16() * scale.bfloat16()).float()


@implementation
class result_truncated(OneShot):
    """Cuts the sum to bf16 instead of rounding it."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            total = (total.view(torch.int32) & -65536).view(torch.float32)
        return super().finish(total, x)


@implementation
class result_by_way_of_fp16(OneShot):
    """Rounds the sum to half precision on its way."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        return super().finish(total.half().float(), x)
