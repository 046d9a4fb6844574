"""int8_token, but rank 1 sends scales that are 5 % too large."""

import torch

from harness.collective import quant_all_reduce


def all_reduce(x: torch.Tensor, group: torch.distributed.ProcessGroup) -> torch.Tensor:
    return quant_all_reduce(x * 1.05 if torch.distributed.get_rank(group) == 1 else x, group, codec="int8_token")
