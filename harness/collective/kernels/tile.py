"""A kernel's tile, fp32 ``[rows, columns]``: where its elements lie, and what they are.

A block is what shares a scale: a row where a codec has one a token, a group of columns where it has one a
group. Blocks are numbered through the matrix row by row, so that a tile can hold parts of a row or many rows.
"""

import triton
import triton.language as tl

from harness.collective.kernels.grid import from_grid, to_rows
from harness.collective.kernels.hadamard import transform
from harness.collective.kernels.packed import UNIT, from_nibbles, from_planes, load_units

HEADROOM = tl.constexpr(2.0**-4)
"""As in `harness.collective.codecs.rotated`."""

UNTUNED = ("blocks", "per_row", "scales_stride", "largest", "exponent")
"""Arguments whose divisibility helps no memory access: not worth a kernel compiled for each."""


@triton.jit
def blocks_of(tile_blocks: tl.constexpr) -> tl.tensor:
    """The numbers of a program's blocks."""
    return tl.program_id(0) * tile_blocks + tl.arange(0, tile_blocks)


@triton.jit
def rows_of(tile_blocks: tl.constexpr, columns: tl.constexpr, chunks: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """The block of each of a program's rows, ``[rows]``, and where in it the row starts, ``[rows, 1]``.

    A tile's row is a block, or one of its ``chunks``: the first chunks of all blocks come first.
    """
    row = tl.arange(0, tile_blocks * chunks)
    return tl.program_id(0) * tile_blocks + row % tile_blocks, (row // tile_blocks * columns)[:, None]


@triton.jit
def places(
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Rows ``[rows, 1]``, columns ``[rows, columns]`` and whether there is such an element.

    Args:
        number: The block of each of the tile's rows, ``[rows]``.
        exists: Whether there is a block of this number.
        start: Where in each block to start.
        per_row: Blocks a row.
        width: Columns of the matrix.
        group: Columns of a block, 0 for all of the row's.
        columns: Columns of the tile, a power of two.
    """
    offset = start + tl.arange(0, columns)[None, :]
    if group:
        row = number // per_row
        column = (number - row * per_row)[:, None] * group + offset
    else:
        row = number
        column = offset + tl.zeros_like(number)[:, None]
    inside = exists[:, None] & (column < width)
    if group % columns:
        inside = inside & (offset < group)
    return row.to(tl.int64)[:, None], column, inside


@triton.jit
def rotated(
    x: tl.tensor,
    number: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    factor: tl.constexpr,
    chunks: tl.constexpr,
    whole: tl.constexpr,
) -> tl.tensor:
    """The Hadamard transform of each block of 128, or of what the row has left, times ``factor``."""
    columns = tl.minimum(width - (number % per_row) * 128, 128)
    return transform(x, columns[:, None], factor, chunks, whole)


@triton.jit
def message(
    x: tl.tensor,
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    row_stride: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
) -> tl.tensor:
    """Loads a part of a matrix of rows ``row_stride`` apart, zero where there is none."""
    row, column, inside = places(number, exists, start, per_row, width, group, columns)
    return tl.load(x + row * row_stride + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def plane(
    stored: tl.tensor,
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    stored_width: tl.tensor,
    first: tl.tensor,
    width: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
    chunks: tl.constexpr,
    share: tl.constexpr,
    units: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Where a tile's part of a plane lies, in units or in bytes, and whether there is such an element.

    Of a row's ``stored_width`` bytes, the plane's ``width`` start at ``first``; ``share`` columns share a byte.
    ``units`` says whether rows and blocks start where a unit may, so that units can be read and written whole. The
    other arguments are those of ``places``.
    """
    size: tl.constexpr = UNIT // share if units else 1
    together: tl.constexpr = share * size
    row, column, inside = places(
        number, exists, start // together, per_row, width // size, group // together, columns // together
    )
    kind: tl.constexpr = tl.uint8 if size == 1 else tl.uint16 if size == 2 else tl.int32  # noqa: PLR2004 - its bytes
    at = (stored + first).to(tl.pointer_type(kind), bitcast=True) + row * (stored_width // size) + column
    # Of a block in chunks, a thread reads and writes one unit of each, as it does eight columns of the message:
    # a unit that is aligned to no more than its own size is not taken together with the next.
    return tl.multiple_of(at, [1, size]) if units and chunks > 1 else at, inside


@triton.jit
def _of_next_rank(
    at: tl.tensor, stored_stride: tl.tensor, size: tl.constexpr, chunks: tl.constexpr, units: tl.constexpr
) -> tl.tensor:
    """Where the next rank's units of ``size`` bytes, or its bytes, lie."""
    at += stored_stride // size if units else stored_stride
    return tl.multiple_of(at, [1, size]) if units and chunks > 1 else at


@triton.jit
def sum_over_ranks(
    stored: tl.tensor,
    scales: tl.tensor,
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    stored_width: tl.tensor,
    low_width: tl.tensor,
    stored_stride: tl.tensor,
    scales_stride: tl.tensor,
    blocks: tl.tensor,
    exponent: tl.tensor,
    ranks: tl.constexpr,
    group: tl.constexpr,
    columns: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    units: tl.constexpr,
) -> tl.tensor:
    """Decodes a part of every rank's message and adds in rank order; the strides are from rank to rank."""
    if kind == "int4" or kind == "int6":  # noqa: PLR1714 - Triton knows no sets
        at, inside = plane(
            stored, number, exists, start, per_row, stored_width, 0, low_width, group, columns, chunks, 2, units
        )
        high, inside_high = at, inside
        if kind == "int6":
            high, inside_high = plane(
                stored, number, exists, start, per_row, stored_width, low_width, stored_width - low_width,
                group, columns, chunks, 4, units,
            )  # fmt: skip
    else:
        row, column, inside = places(number, exists, start, per_row, stored_width, group, columns)
        at = stored + row * stored_width + column
        high, inside_high = at, inside
    block = blocks_of(number.shape[0] // chunks)
    scales_at, scaled = scales + block, block < blocks
    total = _decoded(at, high, scales_at, scaled, inside, inside_high, exponent, columns, chunks, kind)
    # The multiplication in there and the addition must not become one operation: see launch.py.
    for _ in tl.static_range(1, ranks):
        at = _of_next_rank(at, stored_stride, UNIT // 2, chunks, units)
        high = _of_next_rank(high, stored_stride, UNIT // 4, chunks, units)
        scales_at += scales_stride
        total += _decoded(at, high, scales_at, scaled, inside, inside_high, exponent, columns, chunks, kind)
    return total


@triton.jit
def _decoded(
    at: tl.tensor,
    high: tl.tensor,
    scales_at: tl.tensor,
    scaled: tl.tensor,
    inside: tl.tensor,
    inside_high: tl.tensor,
    exponent: tl.tensor,
    columns: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
) -> tl.tensor:
    """Decodes one rank's part of a tile. ``high`` is where INT6's second plane lies."""
    if kind == "int4":
        values = from_nibbles(load_units(at, inside, columns // UNIT), exponent)
    elif kind == "int6":
        high_bits = load_units(high, inside_high, columns // UNIT)
        values = from_planes(load_units(at, inside, columns // UNIT), high_bits, exponent)
    else:
        values = from_grid(tl.load(at, mask=inside, other=0), kind)
    if kind != "plain":
        values *= to_rows(tl.load(scales_at, mask=scaled, other=0.0), chunks)[:, None]
    return values
