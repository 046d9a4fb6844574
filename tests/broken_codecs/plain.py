"""A plain all-reduce that calls itself int8_token."""

import torch


def all_reduce(x: torch.Tensor, group: torch.distributed.ProcessGroup) -> torch.Tensor:
    total = x.clone()
    torch.distributed.all_reduce(total, group=group)
    return total
