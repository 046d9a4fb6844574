"""The installed SGLang's own collective, unmodified, in the form the suite tests: ``f(x, group)``.

``GroupCoordinator.quant_all_reduce`` reads two attributes of its coordinator on this path, which a namespace
holds here, and imports ``torch_npu``, for which the stand-in steps in. SGLang's function itself is what runs.
"""

from types import SimpleNamespace

from sglang.srt.distributed.parallel_state import GroupCoordinator
from torch import Tensor, distributed

from suites.implementations.standin_npu import stand_in_torch_npu


def all_reduce_a2(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Over the arithmetic of the A2 and A3 kernel. ``x``: ``[T, H]``, bf16 or fp16."""
    return _all_reduce(x, group, "a2")


def all_reduce_950(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    """Over the arithmetic of the 950 kernel. ``x``: ``[T, H]``, bf16 or fp16."""
    return _all_reduce(x, group, "950")


def _all_reduce(x: Tensor, group: distributed.ProcessGroup, kernel: str) -> Tensor:
    # No unique_name: with it the plain all-reduce that upstream falls back to would go unnoticed.
    coordinator = SimpleNamespace(world_size=distributed.get_world_size(group), device_group=group)
    with stand_in_torch_npu(kernel):
        return GroupCoordinator.quant_all_reduce(coordinator, x)  # type: ignore[no-any-return]
