"""The CPU's backend: the codec's own operations on row tiles that stay in a core's cache."""

from collections.abc import Callable

import torch
from torch import Tensor

from harness.collective.backends.base import Backend
from harness.collective.codec import Codec, Parts

TILE_ELEMENTS = 1 << 16
"""Elements of a tile: 256 KiB in fp32, so that a few temporaries of a tile fit into a 1 MiB L2 cache."""


class Tiled(Backend):
    """Bit for bit what ``Eager`` computes, since codecs treat rows independently.

    Eager torch writes every intermediate to memory: at 2048 x 4096 that is a dozen passes over 32 MiB. A
    tile's intermediates are read again before they leave the cache, and memory sees the message once in
    each direction.
    """

    name = "tiled"

    def encode(self, codec: Codec, x: Tensor) -> Parts:
        return _in_tiles(x.shape[0], x.shape[1], lambda rows: codec.encode(x[rows], x.dtype))

    def decode_sum(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype) -> Tensor:
        def work(rows: slice) -> Parts:
            return (codec.decode_sum(tuple(part[:, rows] for part in gathered), width, dtype).to(dtype),)

        return _in_tiles(gathered[0].shape[1], width, work)[0]

    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype) -> Parts:
        def work(rows: slice) -> Parts:
            total = codec.decode_sum(tuple(part[:, rows] for part in gathered), width, dtype)
            return codec.encode(total, dtype)

        return _in_tiles(gathered[0].shape[1], width, work)


def _in_tiles(rows: int, width: int, work: Callable[[slice], Parts]) -> Parts:
    """Calls ``work`` on slices of ``rows`` and joins its parts, each allocated once at full size."""
    step = max(1, TILE_ELEMENTS // width)
    first = work(slice(0, step))
    if rows <= step:
        return first
    whole = tuple(part.new_empty(rows, *part.shape[1:]) for part in first)
    for start in range(0, rows, step):
        tile = slice(start, start + step)
        for target, part in zip(whole, work(tile) if start else first, strict=True):
            target[tile] = part
    return whole
