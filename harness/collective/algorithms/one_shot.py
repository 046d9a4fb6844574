"""One-shot: everyone sends everything to everyone, and each rank adds it all up."""

import torch
from torch import Tensor, distributed

from harness.collective.algorithms.exchange import Group, all_gather
from harness.collective.backends.base import Backend
from harness.collective.codec import Codec
from harness.collective.messages import MessageFormat


def one_shot(x: Tensor, group: Group, codec: Codec, backend: Backend) -> Tensor:
    """Sums ``x`` ``[T, H]`` over the group's ranks (the algorithm of SGLang's PR 20520).

    1. Each rank encodes its message.
    2. An all-gather: (N - 1) messages sent a rank.
    3. Each rank decodes all N, its own among them, and adds them in rank order.

    Every rank adds the same numbers in the same order, hence the same bits.
    """
    rows, width = x.shape
    message = MessageFormat(codec, rows, width, x.dtype)
    gathered = message.empty(distributed.get_world_size(group), x.device)
    with message.writing(gathered[distributed.get_rank(group)]) as own:
        backend.encode(codec, x, own)
    all_gather(gathered, group)
    total = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    backend.decode_sum(codec, message.parts(gathered), total)
    return total
