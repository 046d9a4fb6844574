"""One encoding and back, without any communication."""

import hypothesis
import pytest
import torch
from hypothesis import strategies
from torch import Tensor

from harness.collective import codec_names, get_codec
from harness.collective.codecs.int8 import Int8

LARGEST = 2.0**120
"""Leaves room for what a codec's intermediate results and the bound itself add."""

FINITE = strategies.floats(-LARGEST, LARGEST, width=32)

matrices = strategies.integers(1, 4).flatmap(
    lambda rows: strategies.integers(1, 70).flatmap(
        lambda width: strategies.lists(FINITE, min_size=rows * width, max_size=rows * width).map(
            lambda values: torch.tensor(values).view(rows, width)
        )
    )
)


def round_trip(name: str, x: Tensor) -> Tensor:
    codec = get_codec(name)
    return codec.decode(codec.encode(x, x.dtype), x.shape[-1], x.dtype)


@pytest.mark.parametrize("name", codec_names())
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)
@hypothesis.given(x=matrices)
def test_one_encoding_stays_within_its_bound(name: str, x: Tensor) -> None:
    error = (round_trip(name, x).double() - x.double()).abs()
    bound = get_codec(name).error_bound(x.double(), x.dtype)
    assert (error <= bound).all(), f"{(error / bound).max().item():.4f} times the bound"


@pytest.mark.parametrize("name", codec_names())
@hypothesis.settings(max_examples=50, deadline=None, derandomize=True, database=None)
@hypothesis.given(x=matrices)
def test_an_encoding_is_odd_and_rows_are_independent(name: str, x: Tensor) -> None:
    whole = round_trip(name, x)
    assert torch.equal(round_trip(name, -x), -whole)
    rows = [round_trip(name, x[row : row + 1]) for row in range(len(x))]
    assert torch.equal(torch.cat(rows), whole)


@pytest.mark.parametrize("name", [name for name in codec_names() if isinstance(get_codec(name), Int8)])
@hypothesis.settings(max_examples=50, deadline=None, derandomize=True, database=None)
@hypothesis.given(x=matrices)
def test_int8_uses_127_on_both_sides_and_never_minus_128(name: str, x: Tensor) -> None:
    stored, _ = get_codec(name).encode(x, x.dtype)
    assert stored.min() >= -127
    amax = x.abs().amax(dim=-1)
    for row in (amax > 1e-30).nonzero().flatten().tolist():  # the reciprocal codecs lose smaller ones
        assert abs(int(stored[row, int(x[row].abs().argmax())])) == 127
