"""int8_token, but rank 1 sends zeros in layer 7's attention."""

import itertools

import torch

from harness.collective import quant_all_reduce

# SmolLM2-135M: two sums in each of 30 layers, attention's first.
CALLS, BROKEN = 60, 14
calls = itertools.count()


def all_reduce(x: torch.Tensor, group: torch.distributed.ProcessGroup) -> torch.Tensor:
    missing = next(calls) % CALLS == BROKEN and torch.distributed.get_rank(group) == 1
    return quant_all_reduce(torch.zeros_like(x) if missing else x, group, codec="int8_token")
