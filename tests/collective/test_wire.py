"""Bytes on the wire."""

import pytest
import torch

from harness.collective import UnknownCodecError, codec_names, get_codec, ring_bytes, wire_bytes


@pytest.mark.parametrize(("ranks", "ratio"), [(2, 0.5), (4, 1.0), (8, 2.0), (16, 4.0)])
def test_one_shot_int8_against_a_bf16_ring(ranks: int, ratio: float) -> None:
    shape = (512, 4096)
    values = wire_bytes(shape, ranks) - (ranks - 1) * 512 * 4
    assert values / ring_bytes(shape, ranks) == ratio


def test_one_shot_int8_sends_a_byte_a_value_and_four_a_token() -> None:
    assert wire_bytes((2, 3, 10), 4) == 3 * 6 * (10 + 4)


def test_without_compression_the_dtype_decides() -> None:
    assert wire_bytes((6, 10), 2, codec="none") == 120
    assert wire_bytes((6, 10), 2, codec="none", dtype=torch.float32) == 240


@pytest.mark.parametrize("shape", [(0, 64), (4, 0)])
def test_nothing_is_sent_for_nothing(shape: tuple[int, ...]) -> None:
    assert wire_bytes(shape, 4) == 0


def test_what_is_not_offered_is_refused() -> None:
    with pytest.raises(UnknownCodecError, match="no codec is named 'zip'"):
        wire_bytes((1, 1), 2, codec="zip")
    with pytest.raises(ValueError, match="no algorithm is named 'tree'"):
        wire_bytes((1, 1), 2, algorithm="tree")
    with pytest.raises(ValueError, match="at least one rank"):
        wire_bytes((1, 1), 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("width", [1, 67, 128, 130])
@pytest.mark.parametrize("name", codec_names())
def test_a_codec_encodes_to_the_bytes_it_states(name: str, width: int, dtype: torch.dtype) -> None:
    codec = get_codec(name)
    parts = codec.encode(torch.randn(3, width).to(dtype), dtype)
    assert all(part.is_contiguous() and part.shape[0] == 3 for part in parts)
    assert sum(part.nbytes for part in parts) == 3 * codec.row_bytes(width, dtype)
