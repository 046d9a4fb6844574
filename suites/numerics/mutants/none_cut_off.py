"""Compresses nothing, and cuts the sum's last fp32 bits off instead of rounding."""

import torch
from torch import Tensor, distributed

from harness.collective import quant_all_reduce
from harness.collective.algorithms.exchange import everyones


def all_reduce(x: Tensor, group: distributed.ProcessGroup) -> Tensor:
    if x.dtype != torch.float32:
        return quant_all_reduce(x, group, codec="none")
    total = everyones(x, group).double().sum(dim=0)
    rounded = total.float()
    return torch.where(rounded.abs() > total.abs(), torch.nextafter(rounded, torch.zeros_like(rounded)), rounded)
