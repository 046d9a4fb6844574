"""A kernel's tile, fp32 ``[blocks, columns]``: where its elements lie, and what they are.

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
def places(
    number: tl.tensor,
    exists: tl.tensor,
    start: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    group: tl.constexpr,
    columns: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Rows ``[blocks, 1]``, columns ``[blocks, columns]`` and whether there is such an element.

    Args:
        number: ``[blocks]``.
        exists: ``[blocks]``, whether there is a block of this number.
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
def rotated(x: tl.tensor, number: tl.tensor, per_row: tl.tensor, width: tl.tensor, whole: tl.constexpr) -> tl.tensor:
    """The Hadamard transform of each block of 128, or of what the row has left."""
    columns = tl.minimum(width - (number % per_row) * 128, 128)
    return transform(x, columns[:, None], whole)


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
    width: tl.tensor,
    stored_width: tl.tensor,
    stored_stride: tl.tensor,
    scales_stride: tl.tensor,
    ranks: tl.constexpr,
    group: tl.constexpr,
    columns: tl.constexpr,
    kind: tl.constexpr,
    hadamard: tl.constexpr,
    whole: tl.constexpr,
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
    scales_at = scales + number
    total = _decoded(
        at, high, scales_at, number, exists, inside, inside_high, per_row, width, kind, hadamard, whole
    )  # fmt: skip
    # The multiplication in there and the addition must not become one operation: see launch.py.
    if hadamard:
        # Written out for many ranks, so much arithmetic leaves too few registers, and is compiled for minutes.
        for _ in range(1, ranks):
            at += stored_stride
            high += stored_stride
            scales_at += scales_stride
            total += _decoded(
                at, high, scales_at, number, exists, inside, inside_high, per_row, width, kind, hadamard, whole
            )  # fmt: skip
    else:
        for _ in tl.static_range(1, ranks):
            at += stored_stride
            high += stored_stride
            scales_at += scales_stride
            total += _decoded(
                at, high, scales_at, number, exists, inside, inside_high, per_row, width, kind, hadamard, whole
            )  # fmt: skip
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
    number: tl.tensor,
    exists: tl.tensor,
    inside: tl.tensor,
    inside_high: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    kind: tl.constexpr,
    hadamard: tl.constexpr,
    whole: tl.constexpr,
) -> tl.tensor:
    """Decodes one rank's part of a tile. ``high`` is where INT6's second plane lies."""
    if kind == "int6":
        values = from_planes(tl.load(at, mask=inside, other=0), tl.load(high, mask=inside_high, other=0))
    else:
        values = from_grid(tl.load(at, mask=inside, other=0), kind)
    if kind != "plain":
        values *= tl.load(scales_at, mask=exists, other=0.0)[:, None]
    if hadamard:
        values = rotated(values, number, per_row, width, whole) * (1 / HEADROOM)
    return values
