"""Two-shot: each rank adds up one stripe of tokens, and sends the sum to everyone."""

import torch
from torch import Tensor, distributed

from harness.collective.algorithms.exchange import Group, all_gather, all_to_all
from harness.collective.algorithms.pipeline import Piece
from harness.collective.backends.base import Backend
from harness.collective.codec import Codec
from harness.collective.messages import MessageFormat


def two_shot(x: Tensor, total: Tensor, group: Group, codec: Codec, backend: Backend) -> Piece:
    """Sums ``x`` ``[T, H]`` over the group's ranks into ``total`` (reduce-scatter and all-gather, compressed).

    1. Each rank cuts its rows into N stripes of ceil(T / N), zeros at the end, and encodes each of them.
    2. An all-to-all: rank r gets everyone's stripe r, (N - 1) / N messages sent a rank.
    3. Each rank decodes its N stripes, adds them in rank order in fp32, and encodes the sum.
    4. An all-gather of the encoded sums: (N - 1) / N messages.
    5. Each rank decodes all N sums. Its own is decoded from the bytes its peers got, not kept as it was,
       or ranks would differ.
    """
    ranks, rank = distributed.get_world_size(group), distributed.get_rank(group)
    stripe = -(-len(x) // ranks)
    message = MessageFormat(codec, stripe, x.shape[1], x.dtype)
    messages = message.empty(ranks, x.device)
    for own, target in zip(_stripes(x, stripe, ranks), messages, strict=True):
        with message.writing(target) as parts:
            for part in parts:
                part[len(own) :].zero_()
            backend.encode(codec, own, tuple(part[: len(own)] for part in parts))
    received = torch.empty_like(messages)
    yield all_to_all(received, messages, group)
    # What was sent has arrived: the sums take its place.
    with message.writing(messages[rank]) as parts:
        backend.decode_sum_encode(codec, message.parts(received), x.shape[1], x.dtype, parts)
    yield all_gather(messages, group)
    sums = message.parts(messages)
    for index, own in enumerate(_stripes(total, stripe, ranks)):
        backend.decode_sum(codec, tuple(part[index : index + 1, : len(own)] for part in sums), own)


def _stripes(x: Tensor, stripe: int, ranks: int) -> list[Tensor]:
    """Each rank's rows; the last ranks may get fewer, or none."""
    return [x[rank * stripe : (rank + 1) * stripe] for rank in range(ranks)]
