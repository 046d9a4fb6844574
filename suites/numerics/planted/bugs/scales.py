"""Bugs in the scale: the magnitude it is of, its precision, whose it is."""

import torch
from torch import Tensor, distributed

from suites.implementations.plain import Group, OneShot, implementation


@implementation
class scale_by_128(OneShot):
    """Divides by 128, so that the largest value is clipped."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax * (127.0 / 128.0))


@implementation
class scale_by_126(OneShot):
    """Divides by 126 and wastes a step on either side."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax * (127.0 / 126.0))


@implementation
class scale_by_123(OneShot):
    """Leaves four codes unused on each side, which costs 0.28 dB."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax) * (127 / 123)


@implementation
class scale_by_127_5(OneShot):
    """Spreads the values over the 255 steps from -127.5 to 127.5."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax * (127.0 / 127.5))

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        v = torch.where(scale == 0, torch.zeros_like(rows), rows / scale).nan_to_num(nan=0.0)
        return v.round().clamp(-128, 127).to(torch.int8)


@implementation
class scale_in_bf16(OneShot):
    """Rounds scales to bf16 before the multiplication, as SGLang 0.5.23 does."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return stored.float() * scale.bfloat16().float()


@implementation
class scale_in_fp16(OneShot):
    """Sends scales in half precision."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax).half().float()


@implementation
class scale_floored(OneShot):
    """Keeps scales from falling below 1e-5, so that small tokens fade."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax).clamp_min(1e-5)


@implementation
class scale_plus_epsilon(OneShot):
    """Adds an epsilon to keep clear of a division by zero."""

    def scale(self, amax: Tensor) -> Tensor:
        return super().scale(amax + 1e-8)


@implementation
class small_values_flushed(OneShot):
    """Rounds values up to 0.6 of a step to zero."""

    def round(self, v: Tensor) -> Tensor:
        return torch.where(v.abs() < 0.6, 0.0, v.round())


@implementation
class scale_per_tensor(OneShot):
    """Has one scale for all tokens."""

    def amax(self, rows: Tensor) -> Tensor:
        return rows.abs().amax().expand(len(rows), 1)


@implementation
class scale_of_first_row(OneShot):
    """Uses the first token's scale for every token."""

    def amax(self, rows: Tensor) -> Tensor:
        return super().amax(rows)[:1].expand(len(rows), 1)


@implementation
class scale_per_column(OneShot):
    """Takes the largest magnitude along the wrong axis."""

    def amax(self, rows: Tensor) -> Tensor:
        return rows.abs().amax(dim=0).narrow(0, 0, 1).expand(len(rows), 1)


@implementation
class amax_signed(OneShot):
    """Takes the largest value for the largest magnitude."""

    def amax(self, rows: Tensor) -> Tensor:
        return rows.amax(dim=1, keepdim=True)


@implementation
class amax_without_last_column(OneShot):
    """Leaves the last column out of the largest magnitude."""

    def amax(self, rows: Tensor) -> Tensor:
        return super().amax(rows[:, :-1] if rows.shape[1] > 1 else rows)


@implementation
class amax_clips_outliers(OneShot):
    """Clips at twelve times the median."""

    def amax(self, rows: Tensor) -> Tensor:
        typical = rows.abs().median(dim=1, keepdim=True).values
        return torch.minimum(super().amax(rows), 12 * typical + (typical == 0) * super().amax(rows))


@implementation
class amax_shared_by_ranks(OneShot):
    """Uses the largest of all ranks' magnitudes on every rank."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        self._group = group
        return super().__call__(x, group)

    def amax(self, rows: Tensor) -> Tensor:
        largest = super().amax(rows)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX, group=self._group)
        return largest


@implementation
class clamp_at_120(OneShot):
    """Clamps to 120 instead of 127."""

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        return super().store(rows, scale).clamp(-120, 120)


@implementation
class wraps_around(OneShot):
    """Lets the largest values wrap around."""

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        return (rows / scale * (129.0 / 127.0)).round().to(torch.int32).to(torch.int8)


@implementation
class scales_swapped(OneShot):
    """Multiplies each rank's values by its neighbour's scales."""

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        return super().dequantize(stored, scale.roll(1, dims=0))


@implementation
class scales_stale(OneShot):
    """Keeps the scales of the first call of each shape."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        fresh = super().exchange(part, group)
        if part.dtype == torch.int8:
            return fresh
        return self._buffers.setdefault((part.shape, distributed.get_world_size(group)), fresh)


@implementation
class scales_of_first_dimension_only(OneShot):
    """Sizes its scales for matrices, as SGLang 0.5.23 does."""

    def amax(self, rows: Tensor) -> Tensor:
        return super().amax(rows)[: self._first].repeat_interleave(len(rows) // self._first, dim=0)

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        self._first = x.shape[0] if x.dim() > 2 else max(1, x.numel() // max(1, x.shape[-1]))
        return super().__call__(x, group)
