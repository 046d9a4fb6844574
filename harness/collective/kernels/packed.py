"""INT4 and INT6, whose codes share bytes: read, unpacked, packed and written eight columns at a time.

A plane holds some bits of every code: INT4's has all four, INT6's two planes have the low four and the high two
(`harness.collective.codecs.int6`). A plane's bits of eight columns are a unit, 32 or 16 bits, which are taken apart
and put together as a whole: byte by byte, and shifting each code to its place, INT6 takes twice the instructions.
"""

import triton
import triton.language as tl

from harness.collective.kernels.grid import ROUNDS_TO_INTEGER

UNIT = tl.constexpr(8)
"""Columns."""

EXPONENT = 0x4B000000
"""Of 2^23, in fp32: ``exponent`` of the functions here.

An argument of the kernels: of a number that it knows, the compiler would make two instructions a code instead of one.
"""

NIBBLES_START = tl.constexpr((sum((8 - 0x4B400000) << 4 * place for place in range(8)) + 2**31) % 2**32 - 2**31)
"""Makes of eight sums 1.5 * 2^23 + code, four bits apart, their codes + 8, so that no code borrows of the next."""

BYTES_START = tl.constexpr((sum((32 - 0x4B400000) << 8 * place for place in range(4)) + 2**31) % 2**32 - 2**31)
"""The same for four codes + 32, eight bits apart."""


@triton.jit
def load_units(at: tl.tensor, inside: tl.tensor, units: tl.constexpr) -> tl.tensor:
    """Reads int32 ``[rows, units]``, whole or in bytes."""
    loaded = tl.load(at, mask=inside, other=0).to(tl.int32)
    if loaded.shape[1] == 4 * units:
        first, second = tl.split(loaded.reshape(loaded.shape[0], loaded.shape[1] // 2, 2))
        loaded = first | (second << 8)
        first, second = tl.split(loaded.reshape(loaded.shape[0], units, 2))
        loaded = first | (second << 16)
    elif loaded.shape[1] == 2 * units:
        first, second = tl.split(loaded.reshape(loaded.shape[0], units, 2))
        loaded = first | (second << 8)
    return loaded


@triton.jit
def store_units(at: tl.tensor, bits: tl.tensor, inside: tl.tensor) -> None:
    """Writes int32 ``[rows, units]``, whole or in bytes."""
    rows: tl.constexpr = bits.shape[0]
    units: tl.constexpr = bits.shape[1]
    if at.shape[1] == 4 * units:
        bits = tl.join(bits, bits >> 16).reshape(rows, 2 * units)
    if at.shape[1] > units:
        bits = tl.join(bits, bits >> 8).reshape(rows, at.shape[1])
    tl.store(at, bits.to(at.dtype.element_ty), mask=inside)


@triton.jit
def to_nibbles(v: tl.tensor) -> tl.tensor:
    """Rounds ``[rows, columns]`` to INT4's units."""
    a, b, c, d, e, f, g, h = _rounded(v)
    high = (((h << 4) + g << 4) + f << 4) + e
    low = (((high << 4) + d << 4) + c << 4) + b
    return ((low << 4) + a + NIBBLES_START) ^ -0x77777778


@triton.jit
def from_nibbles(bits: tl.tensor, exponent: tl.tensor) -> tl.tensor:
    """Reads INT4's units back: fp32 ``[rows, columns]``."""
    first = (bits & 0xFFFF) ^ (exponent + 0x8888)
    last = ((bits >> 12) & 0xFFFF0) ^ (exponent + 0x88880)
    return _joined(
        _value(first, 0, 4), _value(first, 4, 4), _value(first, 8, 4), _value(first, 12, 4),
        _value(last, 4, 4), _value(last, 8, 4), _value(last, 12, 4), _value(last, 16, 4),
    )  # fmt: skip


@triton.jit
def to_planes(v: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Rounds ``[rows, columns]`` to INT6's units of low bits and of high ones."""
    a, b, c, d, e, f, g, h = _rounded(v)
    even = (((g << 8) + e << 8) + c << 8) + a + BYTES_START
    odd = (((h << 8) + f << 8) + d << 8) + b + BYTES_START
    low = (even & 0x0F0F0F0F) | ((odd & 0x0F0F0F0F) << 4)
    pairs = (((even >> 4) & 0x03030303) | ((odd >> 2) & 0x0C0C0C0C)) ^ 0x0A0A0A0A
    pairs = (pairs | (pairs >> 4)) & 0x00FF00FF
    return low, pairs | (pairs >> 8)


@triton.jit
def from_planes(low: tl.tensor, high: tl.tensor, exponent: tl.tensor) -> tl.tensor:
    """Reads INT6's units back: fp32 ``[rows, columns]``."""
    pairs = (high | (high << 8)) & 0x00FF00FF
    pairs = pairs | (pairs << 4)
    even = (low & 0x0F0F0F0F) | ((pairs << 4) & 0x30303030)
    odd = ((low >> 4) & 0x0F0F0F0F) | ((pairs << 2) & 0x30303030)
    first_even, first_odd = (even & 0x3F3F3F) ^ (exponent + 0x202020), (odd & 0x3F3F3F) ^ (exponent + 0x202020)
    last_even = ((even >> 8) & 0x3F0000) ^ (exponent + 0x200000)
    last_odd = ((odd >> 8) & 0x3F0000) ^ (exponent + 0x200000)
    return _joined(
        _value(first_even, 0, 6), _value(first_odd, 0, 6), _value(first_even, 8, 6), _value(first_odd, 8, 6),
        _value(first_even, 16, 6), _value(first_odd, 16, 6), _value(last_even, 16, 6), _value(last_odd, 16, 6),
    )  # fmt: skip


@triton.jit
def _value(bits: tl.tensor, place: tl.constexpr, size: tl.constexpr) -> tl.tensor:
    """The code in the ``size`` bits from ``place`` on, where it has half its range added: fp32.

    Behind the exponent of 2^23 they are that number at its place; a multiply-add shifts and subtracts, exactly.
    """
    number = (bits & (-0x800000 | (((1 << size) - 1) << place))).to(tl.float32, bitcast=True)
    return tl.fma(number, 2.0**-place, -(2.0 ** (23 - place) + 2.0 ** (size - 1)))


@triton.jit
def _joined(
    a: tl.tensor, b: tl.tensor, c: tl.tensor, d: tl.tensor, e: tl.tensor, f: tl.tensor, g: tl.tensor, h: tl.tensor
) -> tl.tensor:
    """One ``[rows, columns]`` of eight ``[rows, units]``, column after column, in the thread that has the unit."""
    columns = tl.join(tl.join(tl.join(a, e), tl.join(c, g)), tl.join(tl.join(b, f), tl.join(d, h)))
    return columns.reshape(a.shape[0], a.shape[1] * UNIT)


@triton.jit
def _rounded(
    v: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """The nearest integers, ties to even, plus the bits of 1.5 * 2^23: of each eight columns ``[rows, units]``."""
    codes = (v + ROUNDS_TO_INTEGER).to(tl.int32, bitcast=True)
    even, odd = tl.split(codes.reshape(codes.shape[0], codes.shape[1] // UNIT, 2, 2, 2))
    first, second = tl.split(even)
    a, e = tl.split(first)
    c, g = tl.split(second)
    first, second = tl.split(odd)
    b, f = tl.split(first)
    d, h = tl.split(second)
    return a, b, c, d, e, f, g, h
