"""One-shot: everyone sends everything to everyone, and each rank adds it all up."""

from torch import Tensor

from harness.collective.algorithms.exchange import Group, all_gather
from harness.collective.backends.base import Backend
from harness.collective.codec import Codec


def one_shot(x: Tensor, group: Group, codec: Codec, backend: Backend) -> Tensor:
    """Sums ``x`` ``[T, H]`` over the group's ranks (the algorithm of SGLang's PR 20520).

    1. Each rank encodes its message.
    2. An all-gather of every part: (N - 1) messages sent a rank.
    3. Each rank decodes all N, its own among them, and adds them in rank order.

    Every rank adds the same numbers in the same order, hence the same bits.
    """
    gathered = all_gather(backend.encode(codec, x), group)
    return backend.decode_sum(codec, gathered, x.shape[1], x.dtype)
