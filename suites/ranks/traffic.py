"""What an implementation sends through torch.distributed, counted where every collective passes."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, distributed
from torch.utils._python_dispatch import TorchDispatchMode


class UnknownCollectiveError(RuntimeError):
    """A collective whose bytes this module doesn't know how to count."""


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own base class
    """Counts the payload bytes this rank sends while the context lasts.

    Counts what an ideal transport would: an all-gather sends its input to the N - 1 others, a ring
    all-reduce 2 (N - 1) / N of its message. It can't see a kernel that talks past torch.distributed.
    """

    def __init__(self, group: distributed.ProcessGroup) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own base class
        self.sent = 0.0
        self.collectives: list[str] = []
        self._ranks = distributed.get_world_size(group)
        self._rank = distributed.get_rank(group)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's documented hook; its default imports the whole compiler for seconds at the first call.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.namespace == "c10d":
            name = func.name().removeprefix("c10d::").partition(".")[0]
            if name not in _BYTES:
                raise UnknownCollectiveError(f"can't count the bytes of {name}; add it to {__name__}")
            self.collectives.append(name)
            self.sent += _BYTES[name](args, self._ranks, self._rank)
        return func(*args, **(kwargs or {}))


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(_size(part) for part in value)


def _all_gather(args: tuple[Any, ...], ranks: int, _rank: int) -> float:
    return (ranks - 1) * _size(args[1])


def _all_to_all_base(args: tuple[Any, ...], ranks: int, rank: int) -> float:
    splits = args[4]
    if not splits:
        return _size(args[1]) * (ranks - 1) / ranks
    row = _size(args[1]) / max(1, len(args[1]))
    return row * float(sum(splits) - splits[rank])


def _all_to_all(args: tuple[Any, ...], _ranks: int, rank: int) -> float:
    return _size(args[1]) - _size(args[1][rank])


def _all_reduce(args: tuple[Any, ...], ranks: int, _rank: int) -> float:
    return _size(args[0]) * 2 * (ranks - 1) / ranks


def _broadcast(args: tuple[Any, ...], ranks: int, rank: int) -> float:
    return _size(args[0]) * (ranks - 1) if args[2] == rank else 0


def _reduce_scatter(args: tuple[Any, ...], ranks: int, _rank: int) -> float:
    return _size(args[1]) * (ranks - 1) / ranks


def _send(args: tuple[Any, ...], _ranks: int, _rank: int) -> float:
    return _size(args[0])


def _nothing(_args: tuple[Any, ...], _ranks: int, _rank: int) -> float:
    return 0


_BYTES: dict[str, Callable[[tuple[Any, ...], int, int], float]] = {
    "allgather_": _all_gather,
    "_allgather_base_": _all_gather,
    "alltoall_": _all_to_all,
    "alltoall_base_": _all_to_all_base,
    "allreduce_": _all_reduce,
    "broadcast_": _broadcast,
    "reduce_scatter_": _reduce_scatter,
    "_reduce_scatter_base_": _reduce_scatter,
    "send": _send,
    "recv_": _nothing,
    "barrier": _nothing,
}
