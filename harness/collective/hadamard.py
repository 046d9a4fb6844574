"""The orthonormal Walsh-Hadamard transform of a row, in blocks."""

import math
from itertools import pairwise

import torch
from torch import Tensor

BLOCK = 128

_BLOCKS_AT_ONCE = 1024
"""512 KiB in fp32, for a core's own cache: all 4096 of a tile at once took 2.6 times as long (EPYC, 1 MiB of L2)."""


def segments(width: int) -> list[tuple[int, int, int]]:
    """Cuts a row into ``(start, end, size)``: blocks of 128, then one block per power of two left over."""
    whole = width // BLOCK * BLOCK
    sizes = [1 << bit for bit in reversed(range(BLOCK.bit_length() - 1)) if (width - whole) >> bit & 1]
    starts = [whole]
    for size in sizes:
        starts.append(starts[-1] + size)
    tail = [(start, end, end - start) for start, end in pairwise(starts)]
    return [(0, whole, BLOCK), *tail] if whole else tail


def transform(x: Tensor) -> Tensor:
    """Transforms ``[..., H]``; it is its own inverse.

    Butterflies rather than a matrix product: additions in a fixed order give the same bits whatever the
    number of rows.
    """
    return torch.cat([_butterflies(x[..., a:b], size) for a, b, size in segments(x.shape[-1])], dim=-1)


def block_mean(x: Tensor) -> Tensor:
    """Each element of ``[..., H]`` replaced by the mean over its block."""
    pieces = []
    for start, end, size in segments(x.shape[-1]):
        blocks = x[..., start:end].reshape(*x.shape[:-1], (end - start) // size, size)
        pieces.append((blocks.sum(dim=-1, keepdim=True) / blocks.shape[-1]).expand_as(blocks).flatten(-2))
    return torch.cat(pieces, dim=-1)


def block_size(width: int) -> Tensor:
    """The size of each column's block, fp64 ``[H]``."""
    return torch.cat([torch.full((b - a,), float(size), dtype=torch.float64) for a, b, size in segments(width)])


def _butterflies(x: Tensor, size: int) -> Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    count = x.numel() // size
    pieces = [torch.split(one.reshape(count, size), _BLOCKS_AT_ONCE) for one in (x, out)]
    for blocks, result in zip(*pieces, strict=True):
        # Blocks lie side by side, so that every step adds long vectors, even that of neighbours within a block.
        y, following = (blocks.new_empty(size, len(blocks)) for _ in range(2))
        # Scaled down before it is added up, so that no intermediate sum is larger than sqrt(size) * amax.
        # Multiplied, not divided by sqrt(size), which devices round differently.
        y.copy_(blocks.t()).mul_(1 / math.sqrt(size))
        half = size // 2
        while half:
            pairs, sums = (one.view(size // (2 * half), 2, half, -1) for one in (y, following))
            torch.add(pairs[:, 0], pairs[:, 1], out=sums[:, 0])
            torch.sub(pairs[:, 0], pairs[:, 1], out=sums[:, 1])
            y, following = following, y
            half //= 2
        result.copy_(y.t())
    return out
