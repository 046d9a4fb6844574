"""Two-shot: each rank adds up one stripe of tokens, and sends the sum to everyone."""

import torch
from torch import Tensor

from harness.collective.algorithms.exchange import Group, all_gather, all_to_all
from harness.collective.backends.base import Backend
from harness.collective.codec import Codec, Parts


def two_shot(x: Tensor, group: Group, codec: Codec, backend: Backend) -> Tensor:
    """Sums ``x`` ``[T, H]`` over the group's ranks (reduce-scatter and all-gather, both compressed).

    1. Each rank encodes its message and cuts its rows into N stripes of ceil(T / N), zeros at the end.
    2. An all-to-all: rank r gets everyone's stripe r, (N - 1) / N messages sent a rank.
    3. Each rank decodes its N stripes, adds them in rank order in fp32, and encodes the sum.
    4. An all-gather of the encoded sums: (N - 1) / N messages.
    5. Each rank decodes all N sums. Its own is decoded from the bytes its peers got, not kept as it was,
       or ranks would differ.
    """
    stripes = all_to_all(_fill_up(backend.encode(codec, x), group), group)
    sums = backend.decode_sum_encode(codec, stripes, x.shape[1], x.dtype)
    gathered = tuple(part.flatten(0, 1)[: x.shape[0]] for part in all_gather(sums, group))
    return backend.decode_sum(codec, tuple(part.unsqueeze(0) for part in gathered), x.shape[1], x.dtype)


def _fill_up(parts: Parts, group: Group) -> Parts:
    rows, ranks = parts[0].shape[0], torch.distributed.get_world_size(group)
    missing = -rows % ranks
    if not missing:
        return parts
    return tuple(torch.cat((part, part.new_zeros(missing, *part.shape[1:]))) for part in parts)
