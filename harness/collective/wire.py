"""Bytes on the wire, from shapes alone."""

from collections.abc import Sequence

import torch

from harness.collective.candidate import find_candidate
from harness.collective.codec import Codec, leading_rows
from harness.collective.mechanisms.mechanism import Mechanism
from harness.collective.spared_rows import spared_bytes


def wire_bytes(
    shape: Sequence[int],
    world_size: int,
    *,
    codec: str | Codec = "int8_token",
    algorithm: str | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> int:
    """Bytes that one rank sends in one all-reduce, transport headers left out.

    One-shot sends the encoded message to each of the N - 1 others. Two-shot cuts its T rows into N stripes
    of ceil(T / N), the last ones filled up with zeros, and sends N - 1 of them twice. Rows that a codec spares
    are sent to each of the others by either.

    Args:
        shape: Of the tensor to be reduced; its last dimension is the hidden size H.
        world_size: N, ranks in the group.
        codec: As for ``simulate_all_reduce``.
        algorithm: As for ``simulate_all_reduce``.
        dtype: The tensor's dtype, which decides the bytes of codec ``none``.

    Raises:
        UnknownCodecError: Nothing has this name.
        ValueError: Not an algorithm, or an impossible world size or shape.
        TypeError: A ``module:function`` doesn't say what it sends.
    """
    if world_size < 1 or not shape:
        raise ValueError(f"need at least one rank and one dimension, not {world_size} and {tuple(shape)}")
    chosen, algorithm = find_candidate(codec, algorithm)
    rows, width = leading_rows(shape), shape[-1]
    if rows * width == 0 or world_size == 1:
        return 0
    if isinstance(chosen, Mechanism):
        return chosen.wire_bytes(shape, world_size, dtype)
    row, spared = chosen.row_bytes(width, dtype), spared_bytes(chosen, rows, width, dtype)
    encoded = rows if algorithm == "one_shot" else 2 * -(-rows // world_size)
    return (world_size - 1) * (encoded * row + spared)


def ring_bytes(shape: Sequence[int], world_size: int, dtype: torch.dtype = torch.bfloat16) -> float:
    """Bytes one rank sends in a plain ring all-reduce: ``2 (N - 1) / N`` of the message."""
    return 2 * (world_size - 1) / world_size * leading_rows(shape) * shape[-1] * dtype.itemsize
