"""Bugs in FP8, in INT4 and without compression."""

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.algorithms.exchange import everyones
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3
from harness.collective.codecs.int4 import Int4
from suites.implementations.plain import OneShot, implementation


@implementation
class fp8_is_int8(OneShot):
    """Says FP8 and sends INT8."""


class _Fp8E5m2(Fp8E4m3):
    def to_grid(self, v: Tensor, out: Tensor) -> None:
        out.view(torch.float8_e5m2).copy_(v)

    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        out.copy_(stored.view(torch.float8_e5m2))


def fp8_e5m2(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Uses FP8's other format, with two mantissa bits instead of three."""
    return quant_all_reduce(x, group, codec=_Fp8E5m2("fp8_e5m2"), backend="eager")


class _Fp8Overflows(Fp8E4m3):
    largest = 480.0

    def to_grid(self, v: Tensor, out: Tensor) -> None:
        super().to_grid(v, out)
        out.masked_fill_(v.abs() > 464, 0x7F)


def fp8_overflows(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Scales to 480 where the format ends at 448, and gets NaNs."""
    return quant_all_reduce(x, group, codec=_Fp8Overflows("fp8_overflows"), backend="eager")


class _Fp8ScaleBy440(Fp8E4m3):
    largest = 440.0


def fp8_scale_by_440(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Scales to 440 where the format ends at 448."""
    return quant_all_reduce(x, group, codec=_Fp8ScaleBy440("fp8_scale_by_440"), backend="eager")


class _Fp8SubnormalsFlushed(Fp8E4m3):
    def to_grid(self, v: Tensor, out: Tensor) -> None:
        super().to_grid(torch.where(v.abs() < 2.0**-6, 0.0, v), out)


def fp8_subnormals_flushed(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Sets FP8's subnormal numbers to zero."""
    return quant_all_reduce(x, group, codec=_Fp8SubnormalsFlushed("fp8_subnormals_flushed"), backend="eager")


def none_cut_off(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Compresses nothing, and cuts the sum's last fp32 bits off instead of rounding."""
    if x.dtype != torch.float32:
        return quant_all_reduce(x, group, codec="none")
    total = everyones(x, group).double().sum(dim=0)
    rounded = total.float()
    return torch.where(rounded.abs() > total.abs(), torch.nextafter(rounded, torch.zeros_like(rounded)), rounded)


class _Int4Swapped(Int4):
    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored << 4 | stored >> 4, out)


def int4_nibbles_swapped(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Reads the two values of a byte in the wrong order."""
    return quant_all_reduce(x, group, codec=_Int4Swapped("int4_nibbles_swapped", group=32), backend="eager")


class _Int4Unsigned(Int4):
    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored, out)
        out.remainder_(16)


def int4_sign_lost(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Reads four bits as a number from 0 to 15."""
    return quant_all_reduce(x, group, codec=_Int4Unsigned("int4_sign_lost", group=32), backend="eager")


class _Int4Pairs(Int4):
    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored, out)
        out[:, out.shape[1] // 2 * 2 :] = 0


def int4_odd_column_lost(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Packs pairs of columns and drops the last odd one."""
    return quant_all_reduce(x, group, codec=_Int4Pairs("int4_odd_column_lost", group=32), backend="eager")
