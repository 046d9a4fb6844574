"""Multiplies and adds in double precision."""

import torch
from torch import Tensor

from suites.numerics.steps import Group, OneShot


class SumsInDouble(OneShot):
    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return (gathered.double() * scales.double()).sum(dim=0).to(torch.float32)


all_reduce = SumsInDouble()
