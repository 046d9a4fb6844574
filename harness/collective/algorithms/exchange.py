"""The two exchanges a compressed all-reduce is made of, for encoded messages."""

from typing import TypeAlias

import torch
from torch import Tensor, distributed

from harness.collective.codec import Parts

Group: TypeAlias = distributed.ProcessGroup

# Torch 2.13 renamed it; the NPU and CUDA builds in use with SGLang are often older.
_all_gather_single = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor


def all_gather(parts: Parts, group: Group) -> Parts:
    """Gives every rank everyone's parts: ``[T, ...]`` to ``[N, T, ...]``, in rank order."""
    return tuple(_gather_one(part, group) for part in parts)


def _gather_one(part: Tensor, group: Group) -> Tensor:
    ranks = distributed.get_world_size(group)
    gathered = part.new_empty((ranks, *part.shape))
    _all_gather_single(gathered.flatten(0, 1), part, group=group)
    return gathered


def all_to_all(parts: Parts, group: Group) -> Parts:
    """Gives rank r everyone's r-th stripe: ``[N * C, ...]`` to ``[N, C, ...]``, in rank order."""
    return tuple(_exchange_one(part, group) for part in parts)


def _exchange_one(part: Tensor, group: Group) -> Tensor:
    received = torch.empty_like(part)
    distributed.all_to_all_single(received, part, group=group)
    return received.view(distributed.get_world_size(group), -1, *part.shape[1:])
