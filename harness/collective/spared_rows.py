"""The few rows of a message that would lose most, sent in full beside the compressed message.

Which rows these are depends on all of the message, so that this is no codec's work: codecs encode rows one by
one, which is what lets backends work in tiles and two-shot in stripes. Instead the collective cuts a message
into two that add up to it: the rest, in which the spared rows are zero, for the codec; and the spared rows with
their numbers, gathered by every rank. Codecs, backends and kernels stay as they are, and the bytes follow from
shapes alone. (A row that is sent in full wherever its crest exceeds a threshold would suit codecs, but take
bytes that nobody knows beforehand.) By two-shot the spared rows pass its second encoding by; and since they are
counted over the whole message, not stripe by stripe, they may all lie at a prompt's beginning, where they do lie.
"""

import math

import torch
from torch import Tensor

from harness.collective.codec import Codec


def spared_count(codec: Codec, rows: int) -> int:
    """How many rows of a message are sent in full: the codec's share, rounded up."""
    return math.ceil(codec.spared_rows * rows)


def spared_bytes(codec: Codec, rows: int, width: int, dtype: torch.dtype) -> int:
    """Bytes of one message's spared rows: each with its number, an int32."""
    return spared_count(codec, rows) * (torch.int32.itemsize + width * dtype.itemsize)


def row_powers(x: Tensor) -> Tensor:
    """The power of each row of ``x`` ``[T, H]`` over that of its largest magnitude, times H: fp32 ``[T]``.

    H over the square of the crest. NaN for a row of zeros, or one that holds a NaN or an infinity.
    """
    # In memory of its own order, so that strides don't change the order of additions.
    magnitudes = x.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format).abs_()
    amax = magnitudes.amax(dim=1, keepdim=True)
    # Scaled first: squares of large numbers overflow, those of small ones vanish. Added in fp64, or each device's
    # order of additions would make a close choice another one; NPUs have none.
    wide = torch.float32 if x.device.type == "npu" else torch.float64
    return magnitudes.div_(amax).square_().sum(dim=1, dtype=wide).to(torch.float32)


def choose(powers: Tensor, count: int) -> Tensor:
    """The ``count`` rows of largest crest, amax over rms, in rising order: int64.

    A row of large crest is one whose largest values set a scale that is coarse for all others. Rows that hold a
    NaN or an infinity come last: no way of sending them helps.

    Args:
        powers: What ``row_powers`` gives.
        count: How many.
    """
    # Stable: of equal rows the first, on every device.
    return torch.where(powers.isfinite(), powers, torch.inf).sort(stable=True).indices[:count].sort().values


def split(codec: Codec, x: Tensor, powers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts ``x`` ``[T, H]`` into the rest ``[T, H]``, and the spared rows' numbers ``[k]`` and values ``[k, H]``."""
    chosen = choose(powers, spared_count(codec, len(x)))
    rest = x.clone(memory_format=torch.contiguous_format)
    return rest.index_fill_(0, chosen, 0), chosen, x.index_select(0, chosen)


def rest(codec: Codec, inputs: Tensor) -> Tensor:
    """What the codec gets to encode of every rank's ``[N, ..., H]``."""
    if not codec.spared_rows or not inputs.numel():
        return inputs
    messages = inputs.reshape(len(inputs), -1, inputs.shape[-1])
    return torch.stack([split(codec, x, row_powers(x))[0] for x in messages]).view(inputs.shape)


def add(total: Tensor, numbers: Tensor, rows: Tensor) -> None:
    """Adds one rank's spared rows to the fp32 ``total`` ``[T, H]``: a fixed order of ranks gives the same bits."""
    total.index_add_(0, numbers, rows.to(torch.float32))
