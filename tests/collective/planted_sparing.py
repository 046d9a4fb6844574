"""Planted bugs in what spares rows and columns, and in the narrow codecs: each ``f(x, group)``."""

from unittest import mock

import torch
from torch import Tensor, distributed

from harness.collective import hadamard, quant_all_reduce, spared_rows
from harness.collective.codecs.int4 import Int4
from harness.collective.codecs.int6 import Int6
from harness.collective.codecs.rotated import Rotated

Group = distributed.ProcessGroup


class _Unsigned(Int6):
    def from_grid(self, stored: Tensor, out: Tensor) -> None:
        super().from_grid(stored, out)
        out.remainder_(64)


def sign_of_six_bits_lost(x: Tensor, group: Group) -> Tensor:
    return quant_all_reduce(x, group, codec=_Unsigned("unsigned", 32))


def rotated_in_blocks_of_64(x: Tensor, group: Group) -> Tensor:
    codec = Rotated("half", Int4)
    codec.grid.group = 64
    with mock.patch.object(hadamard, "BLOCK", 64):
        return quant_all_reduce(x, group, codec=codec)


def spared_rows_quantized(x: Tensor, group: Group) -> Tensor:
    return quant_all_reduce(x, group, codec="int8_token")


def rows_of_largest_amax(x: Tensor, group: Group) -> Tensor:
    def by_amax(x: Tensor) -> Tensor:
        return -x.abs().amax(dim=1).nan_to_num().float()

    with mock.patch.object(spared_rows, "row_powers", by_amax):
        return quant_all_reduce(x, group, codec="int8_token_rows4")


def first_spared_column_quantized(x: Tensor, group: Group) -> Tensor:
    out = quant_all_reduce(x, group, codec="int4_group32_columns3+17+40")
    quantized = quant_all_reduce(x, group, codec="int4_group32_columns17+40")
    return torch.cat((out[..., :3], quantized[..., 3:4], out[..., 4:]), dim=-1)
