"""The Walsh-Hadamard transform of blocks of 128 columns, in a kernel; see `harness.collective.hadamard`."""

import triton
import triton.language as tl

ONE_OVER_SQRT_128 = tl.constexpr(128**-0.5)


@triton.jit
def transform(x: tl.tensor, columns: tl.tensor, whole: tl.constexpr) -> tl.tensor:
    """Transforms ``[blocks, 128]``: the same operations in the same order as torch's.

    Args:
        x: fp32, zero in columns that a block doesn't have.
        columns: ``[blocks, 1]``, how many columns each block has. A block of fewer than 128 is cut into one
            segment per power of two, largest first: the segment of column j is as long as the highest bit
            in which j differs from the block's length.
        whole: Whether every block has 128.
    """
    differs = tl.arange(0, 128)[None, :] ^ columns
    y = x * ONE_OVER_SQRT_128 if whole else x * _one_over_sqrt(differs)
    y = _butterflies(y, differs, 64, whole)
    y = _butterflies(y, differs, 32, whole)
    y = _butterflies(y, differs, 16, whole)
    y = _butterflies(y, differs, 8, whole)
    y = _butterflies(y, differs, 4, whole)
    y = _butterflies(y, differs, 2, whole)
    return _butterflies(y, differs, 1, whole)


@triton.jit
def _one_over_sqrt(differs: tl.tensor) -> tl.tensor:
    """Of the power of two that is a number's highest bit; the fp32 number nearest to it."""
    size = tl.maximum(differs, 1).to(tl.float32).to(tl.int32, bitcast=True) & 0x7F800000
    # Of a power of two, the exponent's bits alone give the reciprocal.
    return tl.sqrt_rn((0x7F000000 - size).to(tl.float32, bitcast=True))


@triton.jit
def _butterflies(y: tl.tensor, differs: tl.tensor, half: tl.constexpr, whole: tl.constexpr) -> tl.tensor:
    """Sums and differences of elements ``half`` apart, in segments longer than that."""
    blocks: tl.constexpr = y.shape[0]
    pairs = y.reshape(blocks, 64 // half, 2, half).trans(0, 1, 3, 2)
    low, high = tl.split(pairs)
    both = tl.join(low + high, low - high).trans(0, 1, 3, 2).reshape(blocks, 128)
    return both if whole else tl.where(differs >= 2 * half, both, y)
