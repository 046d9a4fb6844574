"""How a row's power compares with its largest magnitude's, in a kernel: which rows are sent in full."""

import triton
import triton.language as tl

from harness.collective.kernels.grid import larger


@triton.jit
def row_powers_kernel(
    x: tl.tensor,
    out: tl.tensor,
    width: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    columns: tl.constexpr,
) -> None:
    """`harness.collective.spared_rows.row_powers` of one row; the second reading finds it in a cache."""
    row = x + tl.program_id(0).to(tl.int64) * row_stride
    column = tl.arange(0, columns)
    magnitudes = tl.zeros((columns,), tl.float32)
    for start in range(0, width, columns):
        values = tl.load(row + (start + column) * column_stride, mask=start + column < width, other=0.0)
        magnitudes = larger(magnitudes, tl.abs(values.to(tl.float32)))
    amax = tl.reduce(magnitudes, 0, larger)
    powers = tl.zeros((columns,), tl.float64)
    for start in range(0, width, columns):
        inside = start + column < width
        values = tl.load(row + (start + column) * column_stride, mask=inside, other=0.0)
        ratio = tl.div_rn(tl.abs(values.to(tl.float32)), amax)
        # Beyond the row's end 0 / 0 would be no zero.
        powers += tl.where(inside, ratio * ratio, 0.0).to(tl.float64)
    tl.store(out + tl.program_id(0), tl.sum(powers, axis=0).to(tl.float32))
