"""``quant_all_reduce``: an all-reduce (sum) whose messages are compressed."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, distributed

from harness.collective import spared_rows
from harness.collective.algorithms.exchange import Group, everyones
from harness.collective.algorithms.one_shot import one_shot
from harness.collective.algorithms.pipeline import Piece, run
from harness.collective.algorithms.two_shot import two_shot
from harness.collective.backends.base import Backend
from harness.collective.backends.choice import choose_backend
from harness.collective.codec import Codec
from harness.collective.registry import get_codec

Algorithm: TypeAlias = Callable[[Tensor, Tensor, Group, Codec, Backend], Piece]

_ALGORITHMS: dict[str, Algorithm] = {"one_shot": one_shot, "two_shot": two_shot}

_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def quant_all_reduce(
    x: Tensor,
    group: Group | None = None,
    *,
    codec: str | Codec = "int8_token",
    algorithm: str = "one_shot",
    backend: str | None = None,
) -> Tensor:
    """Sums ``x`` over the ranks of ``group``, sending it compressed.

    Every rank must call this with the same shape, dtype, codec and algorithm; every rank gets the same
    bits. A token (row of the last dimension) that is not finite on some rank becomes non-finite on every
    rank, and no other token does.

    Args:
        x: ``[..., H]``, bf16, fp16 or fp32, any strides, any leading shape, possibly empty. Not written to.
        group: The process group, gloo, NCCL or HCCL; the default group if left out.
        codec: A codec's name (``codec_names()``) or a codec.
        algorithm: ``one_shot`` (all-gather) or ``two_shot`` (all-to-all, then all-gather).
        backend: Who does the local work; by default the one for ``x``'s device.

    Returns:
        A new contiguous tensor of ``x``'s shape and dtype. With a single rank, a copy of ``x``: nothing is
        sent, so nothing is compressed.

    Raises:
        TypeError: ``x`` has another dtype.
        ValueError: ``x`` has no dimension, the caller is not in ``group``, or there is no such algorithm.
        UnknownCodecError: There is no such codec.
        MissingBackendError: No such backend, or none for this device.
    """
    if x.dtype not in _DTYPES:
        raise TypeError(f"quant_all_reduce takes bf16, fp16 or fp32 tensors, not {x.dtype}")
    if x.dim() == 0:
        raise ValueError("quant_all_reduce needs a tensor with a hidden dimension, not a scalar")
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"no algorithm is named {algorithm!r}; there are: {', '.join(_ALGORITHMS)}")
    chosen_codec, chosen_backend = get_codec(codec), choose_backend(x, backend)
    group = distributed.group.WORLD if group is None else group
    ranks = distributed.get_world_size(group)
    if group is None or ranks < 1:
        raise ValueError("this process is not a member of the given process group")
    if ranks == 1 or x.numel() == 0:
        return x.clone(memory_format=torch.contiguous_format)
    rows = x.detach().reshape(-1, x.shape[-1])
    total = torch.empty(rows.shape, dtype=x.dtype, device=x.device)
    if not chosen_codec.spared_rows:
        _reduce(rows, total, group, _ALGORITHMS[algorithm], chosen_codec, chosen_backend)
        return total.view(x.shape)
    rest, numbers, spared = spared_rows.split(chosen_codec, rows, chosen_backend.row_powers(rows))
    unrounded = torch.empty(rows.shape, dtype=torch.float32, device=x.device)
    _reduce(rest, unrounded, group, _ALGORITHMS[algorithm], chosen_codec, chosen_backend)
    for of_rank in zip(everyones(numbers.int(), group), everyones(spared, group), strict=True):
        spared_rows.add(unrounded, *of_rank)
    return total.copy_(unrounded).view(x.shape)


def _reduce(  # noqa: PLR0917 - what an algorithm takes, and the algorithm
    rows: Tensor, total: Tensor, group: Group, algorithm: Algorithm, codec: Codec, backend: Backend
) -> None:
    step = _piece_rows(rows, distributed.get_world_size(group), codec, backend)
    pieces = zip(torch.split(rows, step), torch.split(total, step), strict=True)
    run(algorithm(own, target, group, codec, backend) for own, target in pieces)


def _piece_rows(x: Tensor, ranks: int, codec: Codec, backend: Backend) -> int:
    """How many rows to exchange at once: a multiple of ``ranks``, so that two-shot fills up the last piece only."""
    if backend.piece_bytes is None:
        return len(x)
    fitting = backend.piece_bytes // (ranks * codec.row_bytes(x.shape[1], x.dtype))
    return max(1, fitting // ranks) * ranks
