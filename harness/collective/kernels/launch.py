"""Allocates results, chooses tiles and launches the kernels.

Kernels are launched without ``enable_fp_fusion``: torch's operations round after a product and again after a
sum, and a fused one would round once.
"""

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from harness.collective.hadamard import BLOCK
from harness.collective.kernels.decode_sum import decode_sum_kernel
from harness.collective.kernels.encode import encode_kernel, sum_encode_kernel
from harness.collective.kernels.form import Form

_STORED = {"int8": torch.int8, "fp8_e4m3": torch.uint8, "int4": torch.uint8}

_TILE = 4096
"""Elements of a tile of many blocks."""

_LONGEST = 8192
"""Columns of the longest row that stays in registers between finding its scale and using it."""

_ELEMENTS_A_THREAD = 32


def encode(x: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Encodes ``x`` ``[T, H]`` of any strides: stored values ``[T, ...]`` and fp32 scales ``[T, blocks]``."""
    rows, width = x.shape
    stored, scales = results(rows, width, form, x.device)
    tile = _whole_blocks(width, form)
    with torch.cuda.device_of(x):
        encode_kernel[(triton.cdiv(scales.numel(), tile.blocks),)](
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
            tile_blocks=tile.blocks,
            columns=tile.columns,
            chunks=tile.chunks,
            kind=form.kind,
            reciprocal=form.reciprocal,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=tile.warps,
            enable_fp_fusion=False,
        )
    return stored, scales


def decode_sum_encode(gathered: Tensor, scales: Tensor, width: int, form: Form) -> tuple[Tensor, Tensor]:
    """Decodes ``[N, T, ...]``, adds over N in fp32 and rank order, and encodes the sum ``[T, width]``."""
    ranks, rows = gathered.shape[:2]
    gathered, scales = _rows_together(gathered), _rows_together(scales)
    stored, sum_scales = results(rows, width, form, gathered.device)
    tile = _whole_blocks(width, form)
    with torch.cuda.device_of(gathered):
        sum_encode_kernel[(triton.cdiv(sum_scales.numel(), tile.blocks),)](
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
            tile_blocks=tile.blocks,
            columns=tile.columns,
            chunks=tile.chunks,
            kind=form.kind,
            reciprocal=form.reciprocal,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=tile.warps,
            enable_fp_fusion=False,
        )
    return stored, sum_scales


def decode_sum(gathered: Tensor, scales: Tensor | None, width: int, form: Form, dtype: torch.dtype) -> Tensor:
    """Decodes ``[N, T, ...]`` and adds over N in fp32 and rank order: ``[T, width]``, rounded to ``dtype``."""
    ranks, rows = gathered.shape[:2]
    gathered = _rows_together(gathered)
    scales = gathered if scales is None else _rows_together(scales)
    out = gathered.new_empty((rows, width), dtype=dtype)
    per_row = form.blocks_per_row(width)
    tile = _parts_of_blocks(width, form)
    with torch.cuda.device_of(gathered):
        decode_sum_kernel[(triton.cdiv(rows * per_row, tile.blocks), tile.chunks)](
            gathered,
            scales,
            out,
            rows * per_row,
            per_row,
            width,
            gathered.shape[2],
            gathered.stride(0),
            scales.stride(0),
            ranks=ranks,
            group=form.group,
            tile_blocks=tile.blocks,
            columns=tile.columns,
            kind=form.kind,
            hadamard=form.hadamard,
            whole=width % BLOCK == 0,
            num_warps=tile.warps,
            enable_fp_fusion=False,
        )
    return out


@dataclass(frozen=True)
class _Tile:
    blocks: int
    columns: int
    chunks: int

    @property
    def warps(self) -> int:
        return max(1, min(16, self.blocks * self.columns // (32 * _ELEMENTS_A_THREAD)))


def _whole_blocks(width: int, form: Form) -> _Tile:
    """A tile that finds scales: whole blocks, or one block in chunks where it is too long."""
    columns = max(2, triton.next_power_of_2(form.group or width))
    if columns > _LONGEST:
        return _Tile(1, _LONGEST, triton.cdiv(width, _LONGEST))
    return _Tile(max(1, _TILE // columns) if form.group or columns < _TILE else 1, columns, 1)


def _parts_of_blocks(width: int, form: Form) -> _Tile:
    """A tile that needs no scale but its own: as many columns as is good for memory."""
    columns = min(_TILE, max(2, triton.next_power_of_2(form.group or width)))
    chunks = 1 if form.group else triton.cdiv(width, columns)
    return _Tile(max(1, _TILE // columns), columns, chunks)


def results(rows: int, width: int, form: Form, device: torch.device) -> tuple[Tensor, Tensor]:
    """Memory for an encoded matrix: stored values and scales."""
    stored = torch.empty(rows, form.stored_width(width), dtype=_STORED[form.kind], device=device)
    return stored, torch.empty(rows, form.blocks_per_row(width), dtype=torch.float32, device=device)


def _rows_together(part: Tensor) -> Tensor:
    """The kernels know a stride from rank to rank; within a rank rows must lie one after the other."""
    return part if part[0].is_contiguous() else part.contiguous()
