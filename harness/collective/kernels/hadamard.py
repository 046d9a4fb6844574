"""The Walsh-Hadamard transform of blocks of 128 columns, in a kernel; see `harness.collective.hadamard`."""

import triton
import triton.language as tl

ONE_OVER_SQRT_128 = tl.constexpr(128**-0.5)

A_THREADS_COLUMNS = tl.constexpr(8)
"""How many a thread loads at once: 16 bytes of bf16."""


@triton.jit
def transform(
    x: tl.tensor, columns: tl.tensor, factor: tl.constexpr, chunks: tl.constexpr, whole: tl.constexpr
) -> tl.tensor:
    """Transforms blocks of 128: the same operations in the same order as torch's.

    Args:
        x: fp32 ``[rows, columns]`` of the tile, zero in columns that a block doesn't have.
        columns: ``[rows, 1]``, how many columns each row's block has. A block of fewer than 128 is cut into one
            segment per power of two, largest first: the segment of column j is as long as the highest bit
            in which j differs from the block's length.
        factor: A power of two, by which all is multiplied.
        chunks: Rows that make a block; the first ones of all blocks come first.
        whole: Whether every block has 128.
    """
    size: tl.constexpr = x.shape[1]
    blocks: tl.constexpr = x.shape[0] // chunks
    column = (tl.arange(0, x.shape[0]) // blocks * size)[:, None] + tl.arange(0, size)[None, :]
    differs = column ^ columns
    y = x * (ONE_OVER_SQRT_128 * factor) if whole else x * (_one_over_sqrt(differs) * factor)
    y = _butterflies(y, differs, 64, blocks, whole)
    y = _butterflies(y, differs, 32, blocks, whole)
    y = _butterflies(y, differs, 16, blocks, whole)
    y = _butterflies(y, differs, 8, blocks, whole)
    y = _butterflies(y, differs, 4, blocks, whole)
    y = _butterflies(y, differs, 2, blocks, whole)
    return _butterflies(y, differs, 1, blocks, whole)


@triton.jit
def _one_over_sqrt(differs: tl.tensor) -> tl.tensor:
    """Of the power of two that is a number's highest bit; the fp32 number nearest to it."""
    size = tl.maximum(differs, 1).to(tl.float32).to(tl.int32, bitcast=True) & 0x7F800000
    # Of a power of two, the exponent's bits alone give the reciprocal.
    return tl.sqrt_rn((0x7F000000 - size).to(tl.float32, bitcast=True))


@triton.jit
def _butterflies(
    y: tl.tensor, differs: tl.tensor, half: tl.constexpr, blocks: tl.constexpr, whole: tl.constexpr
) -> tl.tensor:
    """Sums and differences of a block's elements ``half`` apart, in segments longer than that."""
    size: tl.constexpr = y.shape[1]
    apart: tl.constexpr = half if half < size else half * blocks
    pairs = y.reshape(y.numel // (2 * apart), 2, apart)
    if half >= size or half < A_THREADS_COLUMNS:
        low, high = tl.split(pairs.trans(0, 2, 1))
        both = tl.join(low + high, low - high).trans(0, 2, 1).reshape(y.shape)
    else:
        # The other one of a pair is another thread's. Split, pairs would change threads, and back again; to reduce
        # them by an exclusive or takes one exchange, of which the own value leaves the other.
        bits = pairs.to(tl.int32, bitcast=True)
        other = (bits ^ tl.xor_sum(bits, 1, keep_dims=True)).to(tl.float32, bitcast=True)
        sign = tl.where(tl.arange(0, 2) == 0, 1.0, -1.0)[None, :, None]
        both = tl.fma(pairs, sign, other).reshape(y.shape)
    return both if whole else tl.where(differs >= 2 * half, both, y)
