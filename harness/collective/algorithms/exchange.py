"""The two exchanges a compressed all-reduce is made of, for encoded messages: started, and not waited for."""

from typing import TypeAlias

from torch import Tensor, distributed

from harness.collective.algorithms.pipeline import Exchange

Group: TypeAlias = distributed.ProcessGroup

# Torch 2.13 renamed it; the NPU and CUDA builds in use with SGLang are often older.
_all_gather_single = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor


class _All:
    """Several exchanges as one."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = exchanges

    def wait(self) -> None:
        for exchange in self._exchanges:
            exchange.wait()


def all_gather(messages: Tensor, group: Group) -> Exchange:
    """Fills every rank's ``[N, bytes]`` with everyone's message, of which its own is there already.

    On a CPU from each to each: gloo's all-gather copies everything in and out, and takes twice as long. Else in
    place, as FSDP2 does it with the same collective (``torch.distributed.fsdp``).
    """
    rank = distributed.get_rank(group)
    own = messages[rank]
    if messages.device.type == "cpu":
        others = [other for other in range(len(messages)) if other != rank]
        received = [group.recv([messages[other]], other, 0) for other in others]
        return _All([*received, *(group.send([own], other, 0) for other in others)])
    exchange: Exchange = _all_gather_single(messages.view(-1), own, group=group, async_op=True)
    return exchange


def all_to_all(received: Tensor, messages: Tensor, group: Group) -> Exchange:
    """Sends rank r the r-th of ``messages`` ``[N, bytes]``; fills ``received`` with everyone's, in rank order."""
    exchange: Exchange = distributed.all_to_all_single(received, messages, group=group, async_op=True)
    return exchange


def everyones(x: Tensor, group: Group) -> Tensor:
    """Returns every rank's ``x``, ``[N, ...]`` in rank order; waits for it. For those who look at messages."""
    gathered = x.new_empty((distributed.get_world_size(group), *x.shape))
    gathered[distributed.get_rank(group)] = x
    all_gather(gathered.view(len(gathered), -1), group).wait()
    return gathered
