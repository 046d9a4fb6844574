"""Values on a codec's grid, in a kernel: scales, quotients, rounding to storage, and back.

Every operation gives the bits of the codec's own torch operations on the CPU (`harness.collective.codecs`).
"""

import triton
import triton.language as tl

ROUNDS_TO_INTEGER = tl.constexpr(1.5 * 2.0**23)
"""Added to a number below 2^22, it leaves that number's nearest integer, ties to even, in the low bits."""

SMALL_SCALE = tl.constexpr(2.0**-93)
"""Below it, the remainder of a quotient that matters may be lost among subnormal numbers."""

LIFT = tl.constexpr(2.0**100)
"""Both numbers are multiplied by it there; a power of two, so it costs no precision."""


@triton.jit
def largest_magnitudes(x: tl.tensor) -> tl.tensor:
    """Each block's largest magnitude; NaN where it holds one."""
    return tl.reduce(tl.abs(x), 1, larger)


@triton.jit
def largest_magnitudes_of_both(x: tl.tensor, rest: tl.tensor) -> tl.tensor:
    """The same for blocks in two parts, without a second exchange between threads."""
    times: tl.constexpr = x.shape[1] // rest.shape[1]
    folded = tl.reduce(tl.abs(x).reshape(x.shape[0], times, rest.shape[1]), 1, larger)
    return tl.reduce(larger(folded, tl.abs(rest)), 1, larger)


@triton.jit
def of_blocks(magnitudes: tl.tensor, chunks: tl.constexpr) -> tl.tensor:
    """The largest magnitudes ``[blocks]`` from those of blocks' chunks, ``[rows]``."""
    blocks: tl.constexpr = magnitudes.shape[0] // chunks
    return tl.reduce(magnitudes.reshape(chunks, blocks), 0, larger) if chunks > 1 else magnitudes


@triton.jit
def to_rows(of_block: tl.tensor, chunks: tl.constexpr) -> tl.tensor:
    """What ``[blocks]`` says of a block, for each of a tile's rows: blocks' first chunks come first."""
    blocks: tl.constexpr = of_block.shape[0]
    return tl.broadcast_to(of_block[None, :], (chunks, blocks)).reshape(chunks * blocks)


@triton.jit
def larger(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """The larger one; a NaN is larger than any number."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def scales_of(amax: tl.tensor, largest: tl.tensor, reciprocal: tl.constexpr) -> tl.tensor:
    """Each block's scale ``amax / largest``; NaN where the block holds a NaN or an infinity."""
    # Triton's own division may err in the last bit.
    scale = tl.div_rn(1.0, tl.div_rn(largest, amax)) if reciprocal else tl.div_rn(amax, largest)
    return tl.where(amax < float("inf"), scale, float("nan"))


@triton.jit
def quotients(
    x: tl.tensor, scale: tl.tensor, largest: tl.tensor, chunks: tl.constexpr, keep_sign_of_zero: tl.constexpr
) -> tl.tensor:
    """``x / scale`` for ``[rows, columns]`` and ``[blocks]``, on the IEEE quotient's side of every boundary.

    A product with the reciprocal, corrected once by the exact remainder (Markstein, IBM J. Res. Dev. 34, 1990).
    It may still be a neighbour of the IEEE quotient, but never where rounding to a grid would show it:
    ``tests/collective/test_quotients.py`` tries every pair of fp32 numbers for which that could be.
    """
    small = (scale > 0) & (scale < SMALL_SCALE)
    any_small = tl.max(small.to(tl.int32), axis=0) > 0
    # A block so small that fp32 has no number for its scale is zero like a block of zeros.
    divisor = tl.where(scale == 0, 1.0, scale)
    if any_small:
        lift = tl.where(small, LIFT, 1.0)
        divisor *= lift
        x *= to_rows(lift, chunks)[:, None]
    inverse = to_rows(tl.div_rn(1.0, divisor), chunks)[:, None]
    v = x * inverse
    v = tl.fma(tl.fma(v, -to_rows(divisor, chunks)[:, None], x), inverse, v)
    if keep_sign_of_zero:
        v = tl.where(x == 0, x, v)  # the remainder of -0 is +0
    if any_small:
        # Only here can a quotient leave the grid: the scale's own rounding is coarse among subnormals.
        v = tl.minimum(tl.maximum(v, -largest), largest)
    return v


@triton.jit
def products_with_inverse(x: tl.tensor, amax: tl.tensor, largest: tl.tensor, chunks: tl.constexpr) -> tl.tensor:
    """``x (largest / amax)``: the A2/A3 kernel's arithmetic; 0 where the reciprocal overflows."""
    inverse = tl.div_rn(largest, amax)
    return x * to_rows(tl.where(inverse == float("inf"), 0.0, inverse), chunks)[:, None]


@triton.jit
def to_grid(v: tl.tensor, kind: tl.constexpr) -> tl.tensor:
    """Rounds ``[rows, columns]`` to stored bytes; for INT4 and INT6 see `harness.collective.kernels.packed`."""
    if kind == "fp8_e4m3":
        stored = v.to(tl.float8e4nv).to(tl.uint8, bitcast=True)
    else:
        stored = (v + ROUNDS_TO_INTEGER).to(tl.int32, bitcast=True).to(tl.int8)
    return stored


@triton.jit
def from_grid(stored: tl.tensor, kind: tl.constexpr) -> tl.tensor:
    """Reads stored bytes back: fp32 ``[rows, columns]``."""
    return stored.to(tl.float8e4nv, bitcast=True).to(tl.float32) if kind == "fp8_e4m3" else stored.to(tl.float32)
