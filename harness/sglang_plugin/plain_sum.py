"""The sum of all ranks' tensors as a plain all-reduce makes it, to the last bit where its order is known.

Adding three or more numbers in another order gives other last bits, and a model's log-probabilities that differ by
some 3e-5 in fp32.
"""

import torch
from torch import Tensor

SEGMENT_BYTES = 2**20
"""gloo's `AllreduceOptions.maxSegmentSize`."""


def plain_sum(parts: Tensor) -> Tensor:
    """Sum `[N, T, H]` over ranks, rounding to the parts' dtype after each addition.

    On a CPU in the order of gloo's ring (gloo/allreduce.cc): cut into N chunks, chunk c starts at rank c - 1 and goes
    round by way of the lower ranks to rank c. Elsewhere in the order of the ranks: what NCCL and HCCL do depends on
    the algorithm that they choose.

    Returns:
        `[T, H]`, a new tensor.
    """
    ranks, flat = len(parts), parts.flatten(1)
    total = torch.empty_like(flat[0])
    on_cpu = parts.device.type == "cpu"
    chunks = torch.split(total, _chunk(total.numel(), ranks, total.element_size()) if on_cpu else total.numel())
    start = 0
    for chunk, target in enumerate(chunks):
        end = start + len(target)
        order = [(chunk - 1 - step) % ranks for step in range(ranks)] if on_cpu else range(ranks)
        first, *others = (flat[rank, start:end] for rank in order)
        target.copy_(first)
        for other in others:
            target.add_(other)
        start = end
    return total.view(parts.shape[1:])


def _chunk(elements: int, ranks: int, element_bytes: int) -> int:
    """Return how many elements are in each of gloo's chunks but the last, which may be shorter or missing."""
    least = max(2 * ranks, -(-elements * element_bytes // SEGMENT_BYTES))
    of_each_rank = -(-least // ranks)
    return max(1, of_each_rank * -(-elements // (of_each_rank * ranks)))
