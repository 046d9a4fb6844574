"""Bugs in what a call leaves behind, and in which tokens and strides it takes."""

import torch
from torch import Tensor, distributed

from suites.implementations.plain import Group, OneShot, implementation


@implementation
class result_in_fp32(OneShot):
    """Returns the sum in fp32 whatever the input was."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        return total.view(x.shape)


@implementation
class result_flat(OneShot):
    """Returns a matrix for a tensor of more dimensions."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        return total.to(x.dtype)


@implementation
class buffer_stale(OneShot):
    """Fills its gather buffer once and reads it for ever."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        key = (part.shape, part.dtype, distributed.get_world_size(group))
        fresh = super().exchange(part, group)
        return self._buffers.setdefault(key, fresh)


@implementation
class result_buffer_shared(OneShot):
    """Returns the same buffer from every call of a shape."""

    def __init__(self) -> None:
        self._results: dict[tuple[object, ...], Tensor] = {}

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        kept = self._results.setdefault((x.shape, x.dtype), torch.empty_like(x))
        return kept.copy_(super().finish(total, x))


@implementation
class input_overwritten(OneShot):
    """Halves the input in place."""

    def rows(self, x: Tensor) -> Tensor:
        rows = super().rows(x)
        x.div_(2)
        return rows


@implementation
class input_overwritten_in_fp32(OneShot):
    """Rounds in place, which is the input itself where no cast was needed."""

    def rows(self, x: Tensor) -> Tensor:
        return x.float().reshape(-1, x.shape[-1])

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        stored = super().store(rows, scale)
        rows.div_(scale)
        return stored


@implementation
class strides_ignored(OneShot):
    """Reads memory in order, whatever the strides say."""

    def rows(self, x: Tensor) -> Tensor:
        in_order = torch.as_strided(x, (x.numel(),), (1,))
        return super().rows(in_order.view(x.shape))


@implementation
class last_odd_row_lost(OneShot):
    """Works on pairs of tokens and forgets an odd one."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        total[len(total) // 2 * 2 :] = 0
        return super().finish(total, x)


@implementation
class long_messages_cut(OneShot):
    """Works on at most 2048 tokens."""

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        total[2048:] = 0
        return super().finish(total, x)
