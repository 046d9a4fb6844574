"""Chooses tiles and launches the kernels.

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
from harness.collective.kernels.packed import EXPONENT, UNIT
from harness.collective.kernels.row_powers import row_powers_kernel

UNIT_COLUMNS: int = UNIT.value

SHARE_BYTES = ("int4", "int6")
"""Kinds of which several codes share a byte."""

WHOLE_UNITS = 4
"""Bytes: where such codes' units may start that are read and written whole."""

LONGEST_ROW = 1 << 16
"""Columns that share one scale, at most: a row of them stays in the registers of one program."""


def encode(x: Tensor, stored: Tensor, scales: Tensor, form: Form) -> None:
    """Encodes ``x`` ``[T, H]`` of any strides to stored values ``[T, ...]`` and fp32 scales ``[T, blocks]``."""
    if not x.numel():
        return
    _must_be_contiguous(stored, scales)
    # Where a row's elements don't lie side by side, the kernel as Triton 3.6 compiled it turned the tile around in
    # shared memory, byte by byte, and stored INT8 codes that were all -1 (12 x 192, transposed).
    x = x if x.stride(1) == 1 else x.contiguous()
    width = x.shape[1]
    blocks, columns, rest, chunks, warps = _whole_blocks(width, form)
    low_width, units = _planes(width, form, stored)
    with torch.cuda.device(x.device):
        encode_kernel[(triton.cdiv(scales.numel(), blocks),)](
            x,
            stored,
            scales,
            scales.numel(),
            scales.shape[1],
            width,
            x.stride(0),
            stored.shape[1],
            low_width,
            form.largest,
            group=form.group,
            tile_blocks=blocks,
            columns=columns,
            rest=rest,
            chunks=chunks,
            kind=form.kind,
            units=units,
            reciprocal=form.reciprocal,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=warps,
            enable_fp_fusion=False,
        )


def decode_sum_encode(
    gathered: Tensor, gathered_scales: Tensor, stored: Tensor, scales: Tensor, width: int, form: Form
) -> None:
    """Decodes ``[N, T, ...]``, adds over N in fp32 and rank order, and encodes the sum ``[T, width]``."""
    if not stored.numel():
        return
    _must_be_contiguous(stored, scales)
    ranks = len(gathered)
    gathered, gathered_scales = _rows_together(gathered), _rows_together(gathered_scales)
    blocks, columns, rest, chunks, warps = _sums_blocks(width, form)
    low_width, units = _planes(width, form, gathered, stored)
    with torch.cuda.device(gathered.device):
        sum_encode_kernel[(triton.cdiv(scales.numel(), blocks),)](
            gathered,
            gathered_scales,
            stored,
            scales,
            scales.numel(),
            scales.shape[1],
            stored.shape[1],
            low_width,
            gathered.stride(0),
            gathered_scales.stride(0),
            form.largest,
            EXPONENT,
            ranks=ranks,
            group=form.group,
            tile_blocks=blocks,
            columns=columns,
            rest=rest,
            chunks=chunks,
            kind=form.kind,
            units=units,
            reciprocal=form.reciprocal,
            num_warps=warps,
            enable_fp_fusion=False,
        )


def decode_sum(gathered: Tensor, scales: Tensor | None, out: Tensor, form: Form) -> None:
    """Decodes ``[N, T, ...]``, adds over N in fp32 and rank order, and rounds once to ``out`` ``[T, H]``."""
    if not out.numel():
        return
    _must_be_contiguous(out)
    ranks = len(gathered)
    gathered = _rows_together(gathered)
    scales = gathered if scales is None else _rows_together(scales)
    rows, width = out.shape
    count = rows * form.blocks_per_row(width)
    blocks, columns, parts, chunks, warps = _parts_of_blocks(width, form)
    low_width, units = _planes(width, form, gathered)
    with torch.cuda.device(gathered.device):
        decode_sum_kernel[(triton.cdiv(count, blocks), parts)](
            gathered,
            scales,
            out,
            count,
            form.blocks_per_row(width),
            width,
            gathered.shape[2],
            low_width,
            gathered.stride(0),
            scales.stride(0),
            EXPONENT,
            ranks=ranks,
            group=form.group,
            tile_blocks=blocks,
            columns=columns,
            chunks=chunks,
            kind=form.kind,
            units=units,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=warps,
            enable_fp_fusion=False,
        )


def row_powers(x: Tensor, out: Tensor) -> None:
    """Writes each row's power over its largest magnitude's, of ``x`` ``[T, H]``, to ``out`` ``[T]``, fp32."""
    if not x.numel():
        return
    _must_be_contiguous(out)
    with torch.cuda.device(x.device):
        row_powers_kernel[(len(x),)](
            x,
            out,
            x.shape[1],
            x.stride(0),
            x.stride(1),
            columns=min(4096, max(2, triton.next_power_of_2(x.shape[1]))),
            num_warps=4,
            enable_fp_fusion=False,
        )


class _WholeBlocks(NamedTuple):
    """A tile that finds scales."""

    blocks: int
    columns: int
    rest: int
    """Columns of its second part."""
    chunks: int
    """Rows of the tile that make a block, or its first part."""
    warps: int


class _PartsOfBlocks(NamedTuple):
    """A tile that finds no scales, and so may end anywhere in a block."""

    blocks: int
    columns: int
    parts: int
    """Tiles that make a block."""
    chunks: int
    """Rows of the tile that make a block, or one of its parts."""
    warps: int


# The numbers of both were found by trial on an H100 (docs/cuda.md): those that came nearest to the speed of
# a copy at 8192 x 4096 and 8192 x 5120.

_CHUNKS = 4
"""Of a block of 128. A thread holds eight columns of each, so that two of the transform's seven steps leave it.

With 16 chunks none does, but every thread reads from elsewhere: quantizing 8192 x 4096 took 97 us instead of 39. With
8 chunks it took 44, with one 45.
"""


def _whole_blocks(width: int, form: Form) -> _WholeBlocks:
    if form.group == BLOCK:
        return _WholeBlocks(8, BLOCK // _CHUNKS, 0, _CHUNKS, 1)
    if form.group:
        columns = max(UNIT_COLUMNS, triton.next_power_of_2(form.group))
        return _WholeBlocks(max(1, 1024 // columns), columns, 0, 1, 1)
    columns, rest = max(UNIT_COLUMNS, triton.next_power_of_2(width)), 0
    if 1024 < width <= 3 * columns // 4:  # noqa: PLR2004 - shorter rows waste nothing that would be noticed
        columns //= 2
        # The first part is folded to the second's width; to a narrow one, that is compiled for many minutes.
        rest = max(columns // 8, triton.next_power_of_2(width - columns))
    return _WholeBlocks(max(1, 1024 // columns), columns, rest, 1, max(1, min(32, columns // 1024)))


def _sums_blocks(width: int, form: Form) -> _WholeBlocks:
    # No message, whose eight columns a thread would set the tone, and no transform: four units lie side by side.
    if form.group == BLOCK and form.kind in SHARE_BYTES:
        return _WholeBlocks(8, BLOCK, 0, 1, 1)
    return _whole_blocks(width, form)


def _parts_of_blocks(width: int, form: Form) -> _PartsOfBlocks:
    if form.group == BLOCK:
        warps = 2 if form.kind in SHARE_BYTES else 1
        return _PartsOfBlocks(8 * warps, BLOCK // _CHUNKS, 1, _CHUNKS, warps)
    columns = min(1024, max(UNIT_COLUMNS, triton.next_power_of_2(form.group or width)))
    parts = 1 if form.group else triton.cdiv(width, columns)
    return _PartsOfBlocks(max(1, 1024 // columns), columns, parts, 1, 4)


def _planes(width: int, form: Form, *stored: Tensor) -> tuple[int, bool]:
    """Bytes of a row's low plane, and whether units of codes that share bytes can be read and written whole."""
    low = -(-width // 2) if form.kind == "int6" else stored[0].shape[-1]
    places = [place for one in stored for place in (one.data_ptr(), *one.stride()[:-1])]
    whole = width % UNIT_COLUMNS == form.group % UNIT_COLUMNS == 0 and all(
        place % WHOLE_UNITS == 0 for place in places
    )
    return low, whole and form.kind in SHARE_BYTES


def _rows_together(part: Tensor) -> Tensor:
    """The kernels know a stride from rank to rank; within a rank rows must lie one after the other."""
    return part if part[0].is_contiguous() else part.contiguous()


def _must_be_contiguous(*results: Tensor) -> None:
    if not all(result.is_contiguous() for result in results):
        raise ValueError("the kernels write to contiguous tensors, which messages and results are")
