"""Decoding all ranks' messages and adding them, in a kernel."""

import triton
import triton.language as tl

from harness.collective.kernels.tile import HEADROOM, UNTUNED, places, rotated, rows_of, sum_over_ranks


@triton.jit(do_not_specialize=UNTUNED)
def decode_sum_kernel(
    gathered: tl.tensor,
    gathered_scales: tl.tensor,
    out: tl.tensor,
    blocks: tl.tensor,
    per_row: tl.tensor,
    width: tl.tensor,
    stored_width: tl.tensor,
    low_width: tl.tensor,
    stored_stride: tl.tensor,
    scales_stride: tl.tensor,
    exponent: tl.tensor,
    ranks: tl.constexpr,
    group: tl.constexpr,
    tile_blocks: tl.constexpr,
    columns: tl.constexpr,
    chunks: tl.constexpr,
    kind: tl.constexpr,
    units: tl.constexpr,
    hadamard: tl.constexpr,
    whole: tl.constexpr,
) -> None:
    """One pass over what was gathered; fp32 sums in rank order, rounded once to ``out``'s dtype."""
    number, start = rows_of(tile_blocks, columns, chunks)
    exists = number < blocks
    start += tl.program_id(1) * columns
    total = sum_over_ranks(
        gathered, gathered_scales, number, exists, start, per_row, stored_width, low_width,
        stored_stride, scales_stride, blocks, exponent, ranks, group, columns, chunks, kind, units,
    )  # fmt: skip
    if hadamard:
        total = rotated(total, number, per_row, width, 1, chunks, whole) * (1 / HEADROOM)
    row, column, inside = places(number, exists, start, per_row, width, group, columns)
    tl.store(out + row * width + column, total.to(out.dtype.element_ty), mask=inside)
