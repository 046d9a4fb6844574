"""Correct implementations that differ from the library: none may be refused."""

import torch
from torch import Tensor, distributed

from suites.implementations.plain import Group, Grouped, OneShot, TwoShot, all_gather_single, implementation


@implementation
class plain_steps(OneShot):
    """The steps as they are: a second implementation without tiles."""


@implementation
class sums_backwards(OneShot):
    """Adds ranks from the last to the first."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        total = self.dequantize(gathered[-1], scales[-1])
        for rank in reversed(range(len(gathered) - 1)):
            total += self.dequantize(gathered[rank], scales[rank])
        return total


@implementation
class sums_in_double(OneShot):
    """Multiplies and adds in double precision."""

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        return (gathered.double() * scales.double()).sum(dim=0).to(torch.float32)


@implementation
class reciprocal_scale(OneShot):
    """Multiplies by 127 / amax instead of dividing by amax / 127, where that doesn't overflow."""

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        inverse = 127.0 / self.amax(rows)
        product = (rows * inverse).round().nan_to_num(nan=0.0).clamp(-127, 127).to(torch.int8)
        return torch.where(inverse.isfinite(), product, super().store(rows, scale))


@implementation
class one_message(OneShot):
    """Sends values and scales in a single message of bytes."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        if x.numel() == 0:
            return x.clone()
        rows = self.rows(x)
        stored, scale = self.encode(rows)
        message = torch.cat((scale.view(torch.uint8).flatten(), stored.view(torch.uint8).flatten()))
        whole = self.exchange(message, group)
        cut = scale.nbytes
        scales = whole[:, :cut].contiguous().view(torch.float32).view(-1, len(rows), 1)
        gathered = whole[:, cut:].contiguous().view(torch.int8).view(-1, *rows.shape)
        assert len(gathered) == distributed.get_world_size(group)
        return self.finish(self.add(gathered, scales, rows, group), x)


@implementation
class staged_in_place(OneShot):
    """Keeps its gather buffers between calls and writes every call's messages over the last ones."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        ranks = distributed.get_world_size(group)
        whole = self._buffers.setdefault((ranks, part.shape, part.dtype), part.new_empty(ranks, *part.shape))
        all_gather_single(whole.flatten(0, 1), part.contiguous(), group=group)
        return whole


@implementation
class point_to_point(OneShot):
    """Exchanges messages by sends and receives, each rank with each."""

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


@implementation
class row_by_row(OneShot):
    """Finishes one token before it looks at the next, as a fused kernel would."""

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        encode = super().encode
        done = [encode(row) for row in torch.split(rows, 1)]
        return torch.cat([stored for stored, _ in done]), torch.cat([scale for _, scale in done])

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:
        add, each = super().add, zip(torch.split(gathered, 1, dim=1), torch.split(scales, 1, dim=1), strict=True)
        return torch.cat([add(row, scale, rows, group) for row, scale in each])


@implementation
class grouped(Grouped):
    """The steps with a scale per group of 128."""


@implementation
class two_shot(TwoShot):
    """The steps of two-shot."""
