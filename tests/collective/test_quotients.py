"""Why one correction is enough: the kernels' quotients land on the IEEE quotient's side of every boundary.

``harness.collective.kernels.grid.quotients`` multiplies by the rounded reciprocal and corrects once. Before
its last rounding the result errs by at most 1.5 * 2^-24 of a unit in the last place (Markstein 1990). So it
can differ from the IEEE quotient only where the exact one lies that near to a midpoint between two fp32
numbers, and that can change a code only where one of the two is a boundary between codes. Those pairs of
numbers can be listed: tried are all whose quotient is within 40 * 2^-25 of a unit, an order of magnitude more.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest

NEAR = 40

INT8 = [Fraction(2 * code + 1, 2) for code in range(127)]
INT4 = INT8[:7]
E4M3 = sorted(
    {Fraction(mantissa, 8) * Fraction(2) ** exponent for exponent in range(-6, 9) for mantissa in range(8, 16)}
    | {Fraction(mantissa, 8) * Fraction(2) ** -6 for mantissa in range(8)}
)
FP8 = [(low + high) / 2 for low, high in pairwise(E4M3) if high <= 448]


@pytest.mark.parametrize("boundaries", [INT8, INT4, FP8], ids=["int8", "int4", "fp8"])
def test_no_pair_of_numbers_gets_another_code(boundaries: list[Fraction]) -> None:
    tried = 0
    for boundary in boundaries:
        for x, scale in pairs_beside(boundary):
            ours, ieee = corrected_once(x, scale), to_fp32(x / scale)
            assert (ours < boundary, ours > boundary) == (ieee < boundary, ieee > boundary), (x, scale)
            tried += 1
    assert tried > 40 * len(boundaries)


def test_the_pairs_do_find_a_worse_method() -> None:
    """A reciprocal in two parts, and no remainder: as good as one in 2^46, and found out."""
    wrong = 0
    for boundary in INT8:
        for x, scale in pairs_beside(boundary):
            ours, ieee = in_two_parts(x, scale), to_fp32(x / scale)
            wrong += (ours < boundary, ours > boundary) != (ieee < boundary, ieee > boundary)
    assert wrong


def corrected_once(x: Fraction, scale: Fraction) -> Fraction:
    """The kernels' arithmetic."""
    inverse = to_fp32(1 / scale)
    v = to_fp32(x * inverse)
    return to_fp32(to_fp32(x - v * scale) * inverse + v)


def in_two_parts(x: Fraction, scale: Fraction) -> Fraction:
    high = to_fp32(1 / scale)
    low = to_fp32(to_fp32(1 - high * scale) * high)
    return to_fp32(x * high + to_fp32(x * low))


def pairs_beside(boundary: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """Numbers x, s of 24 bits whose quotient is next to a midpoint between the boundary and its neighbours.

    With the midpoint M / 2^24 * 2^e, M odd and of 25 bits: x = (M s + t) / 2^24 for a small t and an x above s,
    or (M s + t) / 2^25 for one below. For each t there is one s modulo that power of two.
    """
    exponent = floor_log2(boundary)
    unit = Fraction(2) ** (exponent - 23)
    below = unit / 2 if boundary == Fraction(2) ** exponent else unit
    for midpoint in (boundary - below / 2, boundary + unit / 2):
        power = floor_log2(midpoint)
        scaled = midpoint / Fraction(2) ** (power - 24)
        assert scaled.denominator == 1
        for bits in (24, 25):
            inverse = pow(int(scaled), -1, 1 << bits)
            for t in (*range(-NEAR, 0), *range(1, NEAR + 1)):
                scale = -t * inverse % (1 << bits)
                x = (int(scaled) * scale + t) >> bits
                if scale.bit_length() == 24 and x.bit_length() == 24:
                    yield Fraction(x) * Fraction(2) ** (power + bits - 24), Fraction(scale)


def to_fp32(value: Fraction) -> Fraction:
    """The nearest number of 24 bits, ties to even; fp32 where nothing overflows or is subnormal."""
    if value == 0:
        return value
    unit = Fraction(2) ** (floor_log2(abs(value)) - 23)
    return round(value / unit) * unit


def floor_log2(value: Fraction) -> int:
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if Fraction(2) ** exponent <= value else exponent - 1
