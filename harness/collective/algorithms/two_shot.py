"""Two-shot: each rank adds up one stripe of tokens, and sends the sum to everyone."""

import torch
from torch import Tensor, distributed

from harness.collective.algorithms.exchange import Group, all_gather, all_to_all
from harness.collective.backends.base import Backend
from harness.collective.codec import Codec
from harness.collective.messages import MessageFormat


def two_shot(x: Tensor, group: Group, codec: Codec, backend: Backend) -> Tensor:
    """Sums ``x`` ``[T, H]`` over the group's ranks (reduce-scatter and all-gather, both compressed).

    1. Each rank cuts its rows into N stripes of ceil(T / N), zeros at the end, and encodes each of them.
    2. An all-to-all: rank r gets everyone's stripe r, (N - 1) / N messages sent a rank.
    3. Each rank decodes its N stripes, adds them in rank order in fp32, and encodes the sum.
    4. An all-gather of the encoded sums: (N - 1) / N messages.
    5. Each rank decodes all N sums. Its own is decoded from the bytes its peers got, not kept as it was,
       or ranks would differ.
    """
    rows, width = x.shape
    ranks, rank = distributed.get_world_size(group), distributed.get_rank(group)
    stripe = -(-rows // ranks)
    message = MessageFormat(codec, stripe, width, x.dtype)
    messages = message.empty(ranks, x.device)
    for own, target in zip(_stripes(x, stripe, ranks), messages, strict=True):
        with message.writing(target) as parts:
            for part in parts:
                part[len(own) :].zero_()
            backend.encode(codec, own, tuple(part[: len(own)] for part in parts))
    received = all_to_all(messages, group)
    # What was sent has arrived everywhere: the sums take its place.
    with message.writing(messages[rank]) as parts:
        backend.decode_sum_encode(codec, message.parts(received), width, x.dtype, parts)
    all_gather(messages, group)
    total = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    sums = message.parts(messages)
    for index, own in enumerate(_stripes(total, stripe, ranks)):
        backend.decode_sum(codec, tuple(part[index : index + 1, : len(own)] for part in sums), own)
    return total


def _stripes(x: Tensor, stripe: int, ranks: int) -> list[Tensor]:
    """Each rank's rows; the last ranks may get fewer, or none."""
    return [x[rank * stripe : (rank + 1) * stripe] for rank in range(ranks)]
