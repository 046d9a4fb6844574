"""Allocates results, chooses tiles and launches the kernels.

Kernels are launched without ``enable_fp_fusion``: torch's operations round after a product and again after a
sum, and a fused one would round once.
"""

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from harness.collective.hadamard import BLOCK
from harness.collective.kernels.decode_sum import decode_sum_kernel
from harness.collective.kernels.encode import encode_kernel, sum_encode_kernel
from harness.collective.kernels.form import Form

LONGEST_ROW = 1 << 16
"""Columns that share one scale, at most: a row of them stays in the registers of one program."""

_STORED = {"int8": torch.int8, "fp8_e4m3": torch.uint8, "int4": torch.uint8}


def encode(x: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Encodes ``x`` ``[T, H]`` of any strides: stored values ``[T, ...]`` and fp32 scales ``[T, blocks]``."""
    rows, width = x.shape
    stored, scales = results(rows, width, form, x.device)
    blocks, columns, rest, warps = _whole_blocks(width, form)
    with torch.cuda.device(x.device):
        encode_kernel[(triton.cdiv(scales.numel(), blocks),)](
            x,
            stored,
            scales,
            scales.numel(),
            scales.shape[1],
            width,
            x.stride(0),
            x.stride(1),
            stored.shape[1],
            form.largest,
            group=form.group,
            tile_blocks=blocks,
            columns=columns,
            rest=rest,
            kind=form.kind,
            reciprocal=form.reciprocal,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=warps,
            enable_fp_fusion=False,
        )
    return stored, scales


def decode_sum_encode(gathered: Tensor, scales: Tensor, width: int, form: Form) -> tuple[Tensor, Tensor]:
    """Decodes ``[N, T, ...]``, adds over N in fp32 and rank order, and encodes the sum ``[T, width]``."""
    ranks, rows = gathered.shape[:2]
    gathered, scales = _rows_together(gathered), _rows_together(scales)
    stored, sum_scales = results(rows, width, form, gathered.device)
    blocks, columns, rest, warps = _whole_blocks(width, form)
    with torch.cuda.device(gathered.device):
        sum_encode_kernel[(triton.cdiv(sum_scales.numel(), blocks),)](
            gathered,
            scales,
            stored,
            sum_scales,
            sum_scales.numel(),
            sum_scales.shape[1],
            width,
            stored.shape[1],
            gathered.stride(0),
            scales.stride(0),
            form.largest,
            ranks=ranks,
            group=form.group,
            tile_blocks=blocks,
            columns=columns,
            rest=rest,
            kind=form.kind,
            reciprocal=form.reciprocal,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=warps,
            enable_fp_fusion=False,
        )
    return stored, sum_scales


def decode_sum(gathered: Tensor, scales: Tensor | None, width: int, form: Form, dtype: torch.dtype) -> Tensor:
    """Decodes ``[N, T, ...]`` and adds over N in fp32 and rank order: ``[T, width]``, rounded to ``dtype``."""
    ranks, rows = gathered.shape[:2]
    gathered = _rows_together(gathered)
    scales = gathered if scales is None else _rows_together(scales)
    out = gathered.new_empty((rows, width), dtype=dtype)
    count = rows * form.blocks_per_row(width)
    blocks, columns, parts, warps = _parts_of_blocks(width, form)
    with torch.cuda.device(gathered.device):
        decode_sum_kernel[(triton.cdiv(count, blocks), parts)](
            gathered,
            scales,
            out,
            count,
            form.blocks_per_row(width),
            width,
            gathered.shape[2],
            gathered.stride(0),
            scales.stride(0),
            ranks=ranks,
            group=form.group,
            tile_blocks=blocks,
            columns=columns,
            kind=form.kind,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=warps,
            enable_fp_fusion=False,
        )
    return out


def results(rows: int, width: int, form: Form, device: torch.device) -> tuple[Tensor, Tensor]:
    """Memory for an encoded matrix: stored values and scales."""
    stored = torch.empty(rows, form.stored_width(width), dtype=_STORED[form.kind], device=device)
    return stored, torch.empty(rows, form.blocks_per_row(width), dtype=torch.float32, device=device)


class _WholeBlocks(NamedTuple):
    """A tile that finds scales."""

    blocks: int
    columns: int
    rest: int
    """Columns of its second part."""
    warps: int


class _PartsOfBlocks(NamedTuple):
    """A tile that finds no scales, and so may end anywhere in a block."""

    blocks: int
    columns: int
    parts: int
    """Tiles that make a block."""
    warps: int


# The numbers of both were found by trial on an H100 (docs/cuda.md): those that came nearest to the speed of
# a copy at 8192 x 4096 and 8192 x 5120.


def _whole_blocks(width: int, form: Form) -> _WholeBlocks:
    if form.group:
        columns = max(2, triton.next_power_of_2(form.group))
        return _WholeBlocks(max(1, 1024 // columns), columns, 0, 1)
    columns, rest = max(2, triton.next_power_of_2(width)), 0
    if 1024 < width <= 3 * columns // 4:  # noqa: PLR2004 - shorter rows waste nothing that would be noticed
        columns //= 2
        rest = max(2, triton.next_power_of_2(width - columns))
    return _WholeBlocks(max(1, 1024 // columns), columns, rest, max(1, min(32, columns // 1024)))


def _parts_of_blocks(width: int, form: Form) -> _PartsOfBlocks:
    columns = min(1024, max(2, triton.next_power_of_2(form.group or width)))
    parts = 1 if form.group else triton.cdiv(width, columns)
    return _PartsOfBlocks(max(1, 1024 // columns), columns, parts, 1 if form.hadamard else 4)


def _rows_together(part: Tensor) -> Tensor:
    """The kernels know a stride from rank to rank; within a rank rows must lie one after the other."""
    return part if part[0].is_contiguous() else part.contiguous()
