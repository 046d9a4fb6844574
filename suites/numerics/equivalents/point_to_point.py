"""Exchanges messages by sends and receives, each rank with each."""

import torch
from torch import Tensor, distributed

from suites.numerics.steps import Group, OneShot


class PointToPoint(OneShot):
    def exchange(self, part: Tensor, group: Group) -> Tensor:
        mine, ranks = distributed.get_rank(group), distributed.get_world_size(group)
        whole = torch.stack([part] * ranks)
        peers = [rank for rank in range(ranks) if rank != mine]
        pending = [distributed.isend(part.contiguous(), group=group, group_dst=rank) for rank in peers]
        pending += [distributed.irecv(whole[rank], group=group, group_src=rank) for rank in peers]
        for work in pending:
            assert work is not None
            work.wait()
        return whole


all_reduce = PointToPoint()
