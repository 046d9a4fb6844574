"""A kernel's tile, fp32 ``[rows, columns]``: where its elements lie, and what they are.

A block is what shares a scale: a row where a codec has one a token, a group of columns where it has one a
group. Blocks are numbered through the matrix row by row, so that a tile can hold parts of a row or many rows.
"""

import triton
import triton.language as tl

from harness.collective.kernels.grid import from_grid, from_planes
from harness.collective.kernels.hadamard import transform

HEADROOM = tl.constexpr(2.0**-4)
"""As in `harness.collective.codecs.rotated`."""

UNTUNED = ("blocks", "per_row", "scales_stride", "largest")
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
def to_rows(of_block: tl.tensor, chunks: tl.constexpr) -> tl.tensor:
    """What ``[blocks]`` says of a block, for each of its rows."""
    blocks: tl.constexpr = of_block.shape[0]
    return tl.broadcast_to(of_block[None, :], (chunks, blocks)).reshape(chunks * blocks)


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
    x: tl.tensor, number: tl.tensor, per_row: tl.tensor, width: tl.tensor, chunks: tl.constexpr, whole: tl.constexpr
) -> tl.tensor:
    """The Hadamard transform of each block of 128, or of what the row has left."""
    columns = tl.minimum(width - (number % per_row) * 128, 128)
    return transform(x, columns[:, None], chunks, whole)


@triton.jit
def message(
    x: tl.tensor,
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
) -> tl.tensor:
    """Loads a part of a matrix of any strides, zero where there is none."""
    row, column, inside = places(number, exists, start, per_row, width, group, columns)
    return tl.load(x + row * row_stride + column * column_stride, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def sum_over_ranks(
    stored: tl.tensor,
    scales: tl.tensor,
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    stored_width: tl.tensor,
    stored_stride: tl.tensor,
    scales_stride: tl.tensor,
    blocks: tl.tensor,
    ranks: tl.constexpr,
    group: tl.constexpr,
    columns: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
) -> tl.tensor:
    """Decodes a part of every rank's message and adds in rank order; the strides are from rank to rank."""
    packed: tl.constexpr = 2 if kind == "int4" or kind == "int6" else 1  # noqa: PLR1714 - Triton knows no sets
    plane = low_plane(stored_width) if kind == "int6" else stored_width
    row, column, inside = places(number, exists, start // packed, per_row, plane, group // packed, columns // packed)
    at = stored + row * stored_width + column
    if kind == "int6":
        row, column, inside_high = places(
            number, exists, start // 4, per_row, stored_width - plane, group // 4, columns // 4
        )
        high = stored + row * stored_width + plane + column
    else:
        inside_high, high = inside, at
    block = blocks_of(number.shape[0] // chunks)
    scales_at, scaled = scales + block, block < blocks
    total = _decoded(at, high, scales_at, scaled, inside, inside_high, chunks, kind)
    # The multiplication in there and the addition must not become one operation: see launch.py.
    for _ in tl.static_range(1, ranks):
        at += stored_stride
        high += stored_stride
        scales_at += scales_stride
        total += _decoded(at, high, scales_at, scaled, inside, inside_high, chunks, kind)
    return total


@triton.jit
def low_plane(stored_width: tl.tensor) -> tl.tensor:
    """Bytes of a row's low plane, of INT6's two: its high plane takes a third of them, rounded up."""
    return stored_width - (stored_width + 2) // 3


@triton.jit
def _decoded(
    at: tl.tensor,
    high: tl.tensor,
    scales_at: tl.tensor,
    scaled: tl.tensor,
    inside: tl.tensor,
    inside_high: tl.tensor,
    chunks: tl.constexpr,
    kind: tl.constexpr,
) -> tl.tensor:
    """Decodes one rank's part of a tile. ``high`` is where INT6's second plane lies."""
    if kind == "int6":
        values = from_planes(tl.load(at, mask=inside, other=0), tl.load(high, mask=inside_high, other=0))
    else:
        values = from_grid(tl.load(at, mask=inside, other=0), kind)
    if kind != "plain":
        values *= to_rows(tl.load(scales_at, mask=scaled, other=0.0), chunks)[:, None]
    return values
