"""One-shot: everyone sends everything to everyone, and each rank adds it all up."""

from torch import Tensor, distributed

from harness.collective.algorithms.exchange import Group, all_gather
from harness.collective.algorithms.pipeline import Piece
from harness.collective.backends.base import Backend
from harness.collective.codec import Codec
from harness.collective.messages import MessageFormat


def one_shot(x: Tensor, total: Tensor, group: Group, codec: Codec, backend: Backend) -> Piece:
    """Sums ``x`` ``[T, H]`` over the group's ranks into ``total`` (the algorithm of SGLang's PR 20520).

    1. Each rank encodes its message.
    2. An all-gather: (N - 1) messages sent a rank.
    3. Each rank decodes all N, its own among them, and adds them in rank order.

    Every rank adds the same numbers in the same order, hence the same bits.
    """
    message = MessageFormat(codec, len(x), x.shape[1], x.dtype)
    gathered = message.empty(distributed.get_world_size(group), x.device)
    with message.writing(gathered[distributed.get_rank(group)]) as own:
        backend.encode(codec, x, own)
    yield all_gather(gathered, group)
    backend.decode_sum(codec, message.parts(gathered), total)
