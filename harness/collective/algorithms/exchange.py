"""The two exchanges a compressed all-reduce is made of, for encoded messages."""

from typing import TypeAlias

import torch
from torch import Tensor, distributed

Group: TypeAlias = distributed.ProcessGroup

# Torch 2.13 renamed it; the NPU and CUDA builds in use with SGLang are often older.
_all_gather_single = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor


def all_gather(messages: Tensor, group: Group) -> None:
    """Fills every rank's ``[N, bytes]`` with everyone's message, of which its own is there already.

    In place, as FSDP2 does it with the same collective (``torch.distributed.fsdp``).
    """
    _all_gather_single(messages.view(-1), messages[distributed.get_rank(group)], group=group)


def all_to_all(messages: Tensor, group: Group) -> Tensor:
    """Sends rank r the r-th of these ``[N, bytes]``, and returns what everyone sent here, in rank order."""
    received = torch.empty_like(messages)
    distributed.all_to_all_single(received, messages, group=group)
    return received
