"""The CPU's backend: the codec's own operations on tiles of rows, whose intermediates stay in the cache."""

import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.collective.backends.base import Backend
from harness.collective.codec import Codec, Parts
from harness.collective.scratch import Scratch

TILE_ELEMENTS = 1 << 17
"""Elements of a tile, at least, and less than twice as many: 512 KiB in fp32, for a core's own cache.

The two dozen torch operations on a tile cost some 110 us besides their work. Encoding 512 x 4096 took 7.1, 5.1, 6.0
and 6.6 ms in tiles of 2^16, 2^17, 2^18 and 2^19, decoding and adding two messages 4.0, 3.8, 3.8 and 5.2 (Xeon with
2 MiB of L2 cache a core, two ranks at once).
"""

GROUP = 128
"""What codecs with groups may fill a narrow row up to."""


class Tiled(Backend):
    """Bit for bit what ``Eager`` computes, since codecs treat rows independently.

    Eager torch writes every intermediate to memory: at 2048 x 4096 that is a dozen passes over 32 MiB. A
    tile's intermediates are read again before they leave the cache, and memory sees the message once in
    each direction. Their memory, three tiles a thread, is kept from call to call.
    """

    name = "tiled"

    piece_bytes = 1 << 23
    """What is gathered is still in the cache when it is decoded, and never makes the kernel clear fresh pages."""

    def __init__(self) -> None:
        self._kept = threading.local()

    def encode(self, codec: Codec, x: Tensor, out: Parts) -> None:
        scratch = self._scratch()
        for rows in _tiles(*x.shape):
            codec.encode_into(x[rows], x.dtype, tuple(part[rows] for part in out), scratch)

    def decode_sum(self, codec: Codec, gathered: Parts, out: Tensor) -> None:
        scratch = self._scratch()
        for rows in _tiles(*out.shape):
            tile = tuple(part[:, rows] for part in gathered)
            out[rows].copy_(codec.decode_sum(tile, out.shape[1], out.dtype, scratch))

    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype, out: Parts) -> None:
        scratch = self._scratch()
        for rows in _tiles(len(out[0]), width):
            tile, target = tuple(part[:, rows] for part in gathered), tuple(part[rows] for part in out)
            codec.decode_sum_encode(tile, width, dtype, target, scratch)

    def _scratch(self) -> Scratch:
        """This thread's own memory for a tile's intermediates."""
        if not hasattr(self._kept, "scratch"):
            self._kept.scratch = Scratch()
        scratch: Scratch = self._kept.scratch
        return scratch


def _tiles(rows: int, width: int) -> Iterator[slice]:
    count = max(1, rows * max(width, GROUP) // TILE_ELEMENTS)
    step = max(1, -(-rows // count))
    return (slice(start, start + step) for start in range(0, rows, step))
