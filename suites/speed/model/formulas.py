"""The model of the whole (``harness.performance``) over messages of one width: where does compression pay?"""

import torch

from harness.collective import get_codec, ring_bytes, wire_bytes
from harness.performance import model
from harness.performance.links import Link
from harness.performance.measurements import Run
from harness.performance.model import WIDTH, Kernels, Message

SIZES = tuple(1 << power for power in range(16, 31))
"""Bytes of the bf16 message: 64 KiB to 1 GiB."""
RANKS = (2, 4, 8, 16)
CODEC = "int8_token"


def plain_seconds(link: Link, ranks: int, tokens: int) -> float:
    """A ring all-reduce of bf16, ``WIDTH`` wide."""
    return model.plain_seconds(link, ranks, ring_bytes((tokens, WIDTH), ranks))


def compressed_seconds(
    kernels: Kernels, link: Link, ranks: int, tokens: int, algorithm: str, *, codec: str = CODEC, parts: int = 2
) -> float:
    """A compressed all-reduce of bf16, ``WIDTH`` wide; as ``model.compressed_seconds``."""
    message = Message(
        plain=2.0 * tokens * WIDTH,
        encoded=float(tokens * get_codec(codec).row_bytes(WIDTH, torch.bfloat16)),
        sent=wire_bytes((tokens, WIDTH), ranks, codec=codec, algorithm=algorithm),
    )
    return model.compressed_seconds(kernels, link, ranks, message, algorithm=algorithm, codec=codec, parts=parts)


def ratio(run: Run, link: Link, ranks: int, size: int, algorithm: str) -> float:
    """Compressed over plain: below 1 compression pays."""
    tokens = size // (2 * WIDTH)
    return compressed_seconds(run, link, ranks, tokens, algorithm) / plain_seconds(link, ranks, tokens)


def pays_from(run: Run, link: Link, ranks: int, algorithm: str) -> int | None:
    """The smallest of ``SIZES`` from which on compression pays for all larger ones too; None if it never does."""
    first = None
    for size in reversed(SIZES):
        if ratio(run, link, ranks, size, algorithm) >= 1:
            break
        first = size
    return first
