"""Values on a codec's grid, in a kernel: scales, quotients, rounding to storage, and back.

Every operation gives the bits of the codec's own torch operations on the CPU (`harness.collective.codecs`).
"""

import triton
import triton.language as tl

ROUNDS_TO_INTEGER = tl.constexpr(1.5 * 2.0**23)
"""Added to a number below 2^22, it leaves that number's nearest integer, ties to even, in the low bits."""

SMALL_SCALE = tl.constexpr(2.0**-93)
LIFT = tl.constexpr(2.0**100)
INFINITY_BITS = tl.constexpr(0x7F800000)


@triton.jit
def magnitude_bits(x: tl.tensor) -> tl.tensor:
    """The bits of |x|, which order like the numbers, with infinity and then NaN above all others."""
    return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def scales_of(amax_bits: tl.tensor, largest: tl.tensor, reciprocal: tl.constexpr) -> tl.tensor:
    """Each block's scale ``amax / largest``; NaN where the block holds a NaN or an infinity."""
    amax = amax_bits.to(tl.float32, bitcast=True)
    # Triton's own division may err in the last bit.
    scale = tl.div_rn(1.0, tl.div_rn(largest, amax)) if reciprocal else tl.div_rn(amax, largest)
    return tl.where(amax_bits < INFINITY_BITS, scale, float("nan"))


@triton.jit
def quotients(x: tl.tensor, scale: tl.tensor, keep_sign_of_zero: tl.constexpr) -> tl.tensor:
    """``x / scale`` correctly rounded, for ``[blocks, columns]`` and ``[blocks]``; 0 where the scale is.

    A division by the same number again and again: Markstein's method (IBM J. Res. Dev. 34, 1990). With a
    correctly rounded reciprocal and a quotient good to one unit in the last place, one correction by the
    exact remainder gives the correctly rounded quotient; the first correction makes it good to that unit.
    Where a remainder might be lost among subnormals, both numbers are scaled up beforehand by a power of two.
    """
    lift = tl.where(scale < SMALL_SCALE, LIFT, 1.0)
    divisor = tl.where(scale == 0, 1.0, scale * lift)
    inverse = tl.div_rn(1.0, divisor)[:, None]
    negative = -divisor[:, None]
    y = x * lift[:, None]
    q = y * inverse
    q = tl.fma(tl.fma(q, negative, y), inverse, q)
    q = tl.fma(tl.fma(q, negative, y), inverse, q)
    # The remainder of -0 is +0.
    return tl.where(y == 0, y, q) if keep_sign_of_zero else q


@triton.jit
def products_with_inverse(x: tl.tensor, amax_bits: tl.tensor, largest: tl.tensor) -> tl.tensor:
    """``x (largest / amax)``: the A2/A3 kernel's arithmetic; 0 where the reciprocal overflows."""
    inverse = tl.div_rn(largest, amax_bits.to(tl.float32, bitcast=True))
    inverse = tl.where(inverse == float("inf"), 0.0, inverse)
    return x * inverse[:, None]


@triton.jit
def to_grid(v: tl.tensor, largest: tl.tensor, kind: tl.constexpr) -> tl.tensor:
    """Rounds ``[blocks, columns]`` to stored bytes, half as many columns for INT4."""
    # Only among subnormals can a quotient leave the grid: the scale's own rounding is coarse there.
    v = tl.minimum(tl.maximum(v, -largest), largest)
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
