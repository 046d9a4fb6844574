"""Encoding, in a kernel: a message, or the sum of all ranks' messages, to codes and scales.

A row that shares one scale stays in registers between finding that scale and using it. It is held in two
parts, ``columns`` and ``rest``, both powers of two as Triton's tiles must be: 5120 columns are 4096 and 1024.
"""

import triton
import triton.language as tl

from harness.collective.kernels.grid import (
    larger,
    largest_magnitudes,
    largest_magnitudes_of_both,
    of_blocks,
    products_with_inverse,
    quotients,
    scales_of,
    to_grid,
    to_planes,
)
from harness.collective.kernels.tile import (
    HEADROOM,
    UNTUNED,
    blocks_of,
    low_plane,
    message,
    places,
    rotated,
    rows_of,
    sum_over_ranks,
    to_rows,
)


@triton.jit(do_not_specialize=UNTUNED)
def encode_kernel(
    x: tl.tensor,
    stored: tl.tensor,
    scales: tl.tensor,
    blocks: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    stored_width: tl.tensor,
    largest: tl.tensor,
    group: tl.constexpr,
    tile_blocks: tl.constexpr,
    columns: tl.constexpr,
    rest: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    reciprocal: tl.constexpr,
    hadamard: tl.constexpr,
    whole: tl.constexpr,
) -> None:
    """Reads ``x`` once and writes codes and scales once."""
    number, start = rows_of(tile_blocks, columns, chunks)
    exists = number < blocks
    first = message(x, number, exists, start, per_row, width, row_stride, column_stride, group, columns)
    if hadamard:
        first = rotated(first * HEADROOM, number, per_row, width, chunks, whole)
    if rest:
        last = message(x, number, exists, columns, per_row, width, row_stride, column_stride, group, rest)
        amax = largest_magnitudes_of_both(first, last)
    else:
        amax = of_blocks(largest_magnitudes(first), chunks)
    scale = scales_of(amax, largest, reciprocal)
    block = blocks_of(tile_blocks)
    tl.store(scales + block, scale, mask=block < blocks)
    scale, amax = to_rows(scale, chunks), to_rows(amax, chunks)
    _store(
        stored, first, scale, amax, number, exists, start, per_row, stored_width, largest,
        group, columns, kind, reciprocal,
    )  # fmt: skip
    if rest:
        _store(
            stored, last, scale, amax, number, exists, columns, per_row, stored_width, largest,
            group, rest, kind, reciprocal,
        )  # fmt: skip


@triton.jit(do_not_specialize=UNTUNED)
def sum_encode_kernel(
    gathered: tl.tensor,
    gathered_scales: tl.tensor,
    stored: tl.tensor,
    scales: tl.tensor,
    blocks: tl.tensor,
    per_row: tl.tensor,
    stored_width: tl.tensor,
    stored_stride: tl.tensor,
    scales_stride: tl.tensor,
    largest: tl.tensor,
    ranks: tl.constexpr,
    group: tl.constexpr,
    tile_blocks: tl.constexpr,
    columns: tl.constexpr,
    rest: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    reciprocal: tl.constexpr,
) -> None:
    """The same for the sum of what ``ranks`` have sent, which never reaches memory.

    Rotated messages are added and encoded as they are: see `harness.collective.codecs.rotated`.
    """
    number, start = rows_of(tile_blocks, columns, chunks)
    exists = number < blocks
    first = sum_over_ranks(
        gathered, gathered_scales, number, exists, start, per_row, stored_width, stored_stride, scales_stride,
        blocks, ranks, group, columns, chunks, kind,
    )  # fmt: skip
    if rest:
        last = sum_over_ranks(
            gathered, gathered_scales, number, exists, columns, per_row, stored_width, stored_stride,
            scales_stride, blocks, ranks, group, rest, chunks, kind,
        )  # fmt: skip
        # Not folded as above: these parts lie otherwise in registers, and would have to change places first.
        amax = larger(largest_magnitudes(first), largest_magnitudes(last))
    else:
        amax = of_blocks(largest_magnitudes(first), chunks)
    scale = scales_of(amax, largest, reciprocal)
    block = blocks_of(tile_blocks)
    tl.store(scales + block, scale, mask=block < blocks)
    scale, amax = to_rows(scale, chunks), to_rows(amax, chunks)
    _store(
        stored, first, scale, amax, number, exists, start, per_row, stored_width, largest,
        group, columns, kind, reciprocal,
    )  # fmt: skip
    if rest:
        _store(
            stored, last, scale, amax, number, exists, columns, per_row, stored_width, largest,
            group, rest, kind, reciprocal,
        )  # fmt: skip


@triton.jit
def _store(
    stored: tl.tensor,
    tile: tl.tensor,
    scale: tl.tensor,
    amax: tl.tensor,
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    stored_width: tl.tensor,
    largest: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
    kind: tl.constexpr,
    reciprocal: tl.constexpr,
) -> None:
    """Rounds a tile to the grid and stores it."""
    v = (
        products_with_inverse(tile, amax, largest)
        if reciprocal
        else quotients(tile, scale, largest, kind == "fp8_e4m3")
    )
    packed: tl.constexpr = 2 if kind == "int4" or kind == "int6" else 1  # noqa: PLR1714 - Triton knows no sets
    plane = low_plane(stored_width) if kind == "int6" else stored_width
    row, column, inside = places(number, exists, start // packed, per_row, plane, group // packed, columns // packed)
    # Triton gives every access of a kernel the elements a thread that suit the narrowest type. Eight make
    # the widest load of 16-bit values; sixteen, which one-byte stores would ask for, make a load of every
    # other 16 bytes, twice.
    at = tl.max_contiguous(stored + row * stored_width + column, [1, 8 // packed])
    if kind == "int6":
        low, high = to_planes(v)
        tl.store(at, low, mask=inside)
        row, column, inside = places(
            number, exists, start // 4, per_row, stored_width - plane, group // 4, columns // 4
        )
        tl.store(stored + row * stored_width + plane + column, high, mask=inside)
    else:
        tl.store(at, to_grid(v, kind), mask=inside)
