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
)
from harness.collective.kernels.packed import store_units, to_nibbles, to_planes
from harness.collective.kernels.tile import (
    HEADROOM,
    UNTUNED,
    blocks_of,
    message,
    places,
    plane,
    rotated,
    rows_of,
    sum_over_ranks,
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
    stored_width: tl.tensor,
    low_width: tl.tensor,
    largest: tl.tensor,
    group: tl.constexpr,
    tile_blocks: tl.constexpr,
    columns: tl.constexpr,
    rest: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    units: tl.constexpr,
    reciprocal: tl.constexpr,
    hadamard: tl.constexpr,
    whole: tl.constexpr,
) -> None:
    """Reads ``x`` once and writes codes and scales once."""
    number, start = rows_of(tile_blocks, columns, chunks)
    exists = number < blocks
    first = message(x, number, exists, start, per_row, width, row_stride, group, columns)
    if hadamard:
        if x.dtype.element_ty == tl.float32:
            first = rotated(first * HEADROOM, number, per_row, width, 1, chunks, whole)
        else:
            # Of a number of 16 bits, a sixteenth is always one of fp32: one product rounds as two do.
            first = rotated(first, number, per_row, width, HEADROOM, chunks, whole)
    if rest:
        last = message(x, number, exists, columns, per_row, width, row_stride, group, rest)
        amax = largest_magnitudes_of_both(first, last)
    else:
        amax = of_blocks(largest_magnitudes(first), chunks)
    scale = scales_of(amax, largest, reciprocal)
    block = blocks_of(tile_blocks)
    tl.store(scales + block, scale, mask=block < blocks)
    _store(
        stored, first, scale, amax, number, exists, start, per_row, stored_width, low_width, largest,
        group, columns, chunks, kind, reciprocal, units,
    )  # fmt: skip
    if rest:
        _store(
            stored, last, scale, amax, number, exists, columns, per_row, stored_width, low_width, largest,
            group, rest, chunks, kind, reciprocal, units,
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
    low_width: tl.tensor,
    stored_stride: tl.tensor,
    scales_stride: tl.tensor,
    largest: tl.tensor,
    exponent: tl.tensor,
    ranks: tl.constexpr,
    group: tl.constexpr,
    tile_blocks: tl.constexpr,
    columns: tl.constexpr,
    rest: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    units: tl.constexpr,
    reciprocal: tl.constexpr,
) -> None:
    """The same for the sum of what ``ranks`` have sent, which never reaches memory.

    Rotated messages are added and encoded as they are: see `harness.collective.codecs.rotated`.
    """
    number, start = rows_of(tile_blocks, columns, chunks)
    exists = number < blocks
    first = sum_over_ranks(
        gathered, gathered_scales, number, exists, start, per_row, stored_width, low_width, stored_stride,
        scales_stride, blocks, exponent, ranks, group, columns, chunks, kind, units,
    )  # fmt: skip
    if rest:
        last = sum_over_ranks(
            gathered, gathered_scales, number, exists, columns, per_row, stored_width, low_width, stored_stride,
            scales_stride, blocks, exponent, ranks, group, rest, chunks, kind, units,
        )  # fmt: skip
        # Not folded as above: these parts lie otherwise in registers, and would have to change places first.
        amax = larger(largest_magnitudes(first), largest_magnitudes(last))
    else:
        amax = of_blocks(largest_magnitudes(first), chunks)
    scale = scales_of(amax, largest, reciprocal)
    block = blocks_of(tile_blocks)
    tl.store(scales + block, scale, mask=block < blocks)
    _store(
        stored, first, scale, amax, number, exists, start, per_row, stored_width, low_width, largest,
        group, columns, chunks, kind, reciprocal, units,
    )  # fmt: skip
    if rest:
        _store(
            stored, last, scale, amax, number, exists, columns, per_row, stored_width, low_width, largest,
            group, rest, chunks, kind, reciprocal, units,
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
    low_width: tl.tensor,
    largest: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    reciprocal: tl.constexpr,
    units: tl.constexpr,
) -> None:
    """Rounds a tile to the grid and stores it."""
    v = (
        products_with_inverse(tile, amax, largest, chunks)
        if reciprocal
        else quotients(tile, scale, largest, chunks, kind == "fp8_e4m3")
    )
    if kind == "int4" or kind == "int6":  # noqa: PLR1714 - Triton knows no sets
        at, inside = plane(
            stored, number, exists, start, per_row, stored_width, 0, low_width, group, columns, chunks, 2, units
        )
        if kind == "int6":
            bits, high_bits = to_planes(v)
            high, inside_high = plane(
                stored, number, exists, start, per_row, stored_width, low_width, stored_width - low_width,
                group, columns, chunks, 4, units,
            )  # fmt: skip
            store_units(high, high_bits, inside_high)
        else:
            bits = to_nibbles(v)
        store_units(at, bits, inside)
    else:
        row, column, inside = places(number, exists, start, per_row, stored_width, group, columns)
        # Triton gives every access of a kernel the elements a thread that suit the narrowest type. Eight make
        # the widest load of 16-bit values; sixteen, which one-byte stores would ask for, make a load of every
        # other 16 bytes, twice.
        at = tl.max_contiguous(stored + row * stored_width + column, [1, 8])
        tl.store(at, to_grid(v, kind), mask=inside)
