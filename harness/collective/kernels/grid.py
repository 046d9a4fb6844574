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
def quotients(x: tl.tensor, scale: tl.tensor, largest: tl.tensor, keep_sign_of_zero: tl.constexpr) -> tl.tensor:
    """``x / scale`` for ``[blocks, columns]`` and ``[blocks]``, on the IEEE quotient's side of every boundary.

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
        x *= lift[:, None]
    inverse = tl.div_rn(1.0, divisor)[:, None]
    v = x * inverse
    v = tl.fma(tl.fma(v, -divisor[:, None], x), inverse, v)
    if keep_sign_of_zero:
        v = tl.where(x == 0, x, v)  # the remainder of -0 is +0
    if any_small:
        # Only here can a quotient leave the grid: the scale's own rounding is coarse among subnormals.
        v = tl.minimum(tl.maximum(v, -largest), largest)
    return v


@triton.jit
def products_with_inverse(x: tl.tensor, amax: tl.tensor, largest: tl.tensor) -> tl.tensor:
    """``x (largest / amax)``: the A2/A3 kernel's arithmetic; 0 where the reciprocal overflows."""
    inverse = tl.div_rn(largest, amax)
    return x * tl.where(inverse == float("inf"), 0.0, inverse)[:, None]


@triton.jit
def to_grid(v: tl.tensor, kind: tl.constexpr) -> tl.tensor:
    """Rounds ``[blocks, columns]`` to stored bytes, half as many columns for INT4; for INT6 see ``to_planes``."""
    if kind == "fp8_e4m3":
        stored = v.to(tl.float8e4nv).to(tl.uint8, bitcast=True)
    else:
        codes = (v + ROUNDS_TO_INTEGER).to(tl.int32, bitcast=True)
        if kind == "int4":
            low, high = tl.split(codes.reshape(codes.shape[0], codes.shape[1] // 2, 2))
            stored = ((low & 0xF) | ((high & 0xF) << 4)).to(tl.uint8)
        else:
            stored = codes.to(tl.int8)
    return stored


@triton.jit
def to_planes(v: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Rounds ``[blocks, columns]`` to INT6's planes: half as many bytes of low bits, and a quarter of high ones."""
    codes = (v + ROUNDS_TO_INTEGER).to(tl.int32, bitcast=True)
    blocks: tl.constexpr = codes.shape[0]
    columns: tl.constexpr = codes.shape[1]
    even, odd = tl.split(codes.reshape(blocks, columns // 2, 2))
    low = (even & 0xF) | ((odd & 0xF) << 4)
    pairs = ((even >> 4) & 3) | (((odd >> 4) & 3) << 2)
    first, second = tl.split(pairs.reshape(blocks, columns // 4, 2))
    return low.to(tl.uint8), (first | (second << 4)).to(tl.uint8)


@triton.jit
def from_planes(low: tl.tensor, high: tl.tensor) -> tl.tensor:
    """Reads INT6's planes back: fp32 ``[blocks, columns]``."""
    blocks: tl.constexpr = low.shape[0]
    halves: tl.constexpr = low.shape[1]
    low, high = low.to(tl.int32), high.to(tl.int32)
    pairs = tl.join(high & 0xF, high >> 4).reshape(blocks, halves)
    even, odd = (low & 0xF) | ((pairs & 3) << 4), (low >> 4) | ((pairs >> 2) << 4)
    # Shifted up and down again, six bits keep their sign.
    both = tl.join(((even << 26) >> 26).to(tl.float32), ((odd << 26) >> 26).to(tl.float32))
    return both.reshape(blocks, halves * 2)


@triton.jit
def from_grid(stored: tl.tensor, kind: tl.constexpr) -> tl.tensor:
    """Reads stored bytes back: fp32 ``[blocks, columns]``."""
    if kind == "fp8_e4m3":
        values = stored.to(tl.float8e4nv, bitcast=True).to(tl.float32)
    elif kind == "int4":
        pairs = stored.to(tl.int32)
        # Shifted up and down again, four bits keep their sign.
        low, high = (pairs << 28) >> 28, (pairs << 24) >> 28
        both = tl.join(low.to(tl.float32), high.to(tl.float32))
        values = both.reshape(stored.shape[0], stored.shape[1] * 2)
    else:
        values = stored.to(tl.float32)
    return values
