"""A second, plain implementation cut into steps, each of which a planted bug, or a correct variant, replaces.

It shares no code with the library, so that the two also check each other. An instance is called like any
implementation: ``f(x, group)``.
"""

import torch
from torch import Tensor, distributed

Group = distributed.ProcessGroup

# Torch 2.13 renamed it.
all_gather_single = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor


class OneShot:
    """INT8 per token, one-shot: quantize, all-gather values and scales, dequantize, add in fp32, round."""

    largest = 127.0

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        if x.numel() == 0:
            return torch.empty_like(x)
        rows = self.rows(x)
        stored, scale = self.encode(rows)
        gathered, scales = self.exchange(stored, group), self.exchange(scale, group)
        return self.finish(self.add(gathered, scales, rows, group), x)

    def rows(self, x: Tensor) -> Tensor:
        """``[T, H]`` in fp32, in memory of its own."""
        return x.reshape(-1, x.shape[-1]).to(torch.float32, copy=True)

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Stored values ``[T, H]`` and scales ``[T, 1]``."""
        scale = self.scale(self.amax(rows))
        return self.store(rows, scale), scale

    def amax(self, rows: Tensor) -> Tensor:
        """``[T, 1]``."""
        return rows.abs().amax(dim=1, keepdim=True)

    def scale(self, amax: Tensor) -> Tensor:
        """``[T, 1]``; NaN for what isn't finite."""
        return torch.where(amax.isfinite(), amax / self.largest, torch.nan)

    def store(self, rows: Tensor, scale: Tensor) -> Tensor:
        """INT8 values."""
        v = torch.where(scale == 0, torch.zeros_like(rows), rows / scale).nan_to_num(nan=0.0)
        return self.round(v).clamp(-self.largest, self.largest).to(torch.int8)

    def round(self, v: Tensor) -> Tensor:
        """To nearest, ties to even."""
        return v.round()

    def exchange(self, part: Tensor, group: Group) -> Tensor:
        """``[N, T, ...]``."""
        whole = part.new_empty(distributed.get_world_size(group), *part.shape)
        all_gather_single(whole.flatten(0, 1), part.contiguous(), group=group)
        return whole

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        """fp32."""
        return stored.float() * scale

    def add(self, gathered: Tensor, scales: Tensor, rows: Tensor, group: Group) -> Tensor:  # noqa: ARG002
        """``[T, H]`` in fp32. ``rows`` is this rank's own message, which only bugs look at."""
        return self.dequantize(gathered, scales).sum(dim=0)

    def finish(self, total: Tensor, x: Tensor) -> Tensor:
        """The sum in the input's shape and dtype."""
        return total.to(x.dtype).view(x.shape)


class Grouped(OneShot):
    """INT8 with a scale for each group of 128 columns, the last group shorter where H asks for it."""

    group = 128

    def spans(self, width: int) -> list[slice]:
        """The columns of each group."""
        return [slice(start, min(start + self.group, width)) for start in range(0, width, self.group)]

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        pieces = [super(Grouped, self).encode(rows[:, span]) for span in self.spans(rows.shape[1])]
        return torch.cat([stored for stored, _ in pieces], dim=1), torch.cat([scale for _, scale in pieces], dim=1)

    def dequantize(self, stored: Tensor, scale: Tensor) -> Tensor:
        spans = self.spans(stored.shape[-1])
        return torch.cat([stored[..., s].float() * scale[..., i : i + 1] for i, s in enumerate(spans)], dim=-1)


class TwoShot(OneShot):
    """INT8 per token, two-shot: stripes of tokens, added by their owner, encoded again."""

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        if x.numel() == 0:
            return torch.empty_like(x)
        rows = self.rows(x)
        ranks = distributed.get_world_size(group)
        padded = torch.cat((rows, rows.new_zeros(-len(rows) % ranks, rows.shape[1])))
        stored, scale = self.encode(padded)
        total = self.add(self.stripes(stored, group), self.stripes(scale, group), rows, group)
        stored, scale = self.encode(total)
        out = self.dequantize(self.exchange(stored, group), self.exchange(scale, group))
        return self.finish(self.join(out, total, group).flatten(0, 1)[: len(rows)], x)

    def stripes(self, part: Tensor, group: Group) -> Tensor:
        """Everyone's stripe for this rank, ``[N, C, ...]``."""
        received = torch.empty_like(part)
        distributed.all_to_all_single(received, part, group=group)
        return received.view(distributed.get_world_size(group), -1, *part.shape[1:])

    def join(self, out: Tensor, total: Tensor, group: Group) -> Tensor:  # noqa: ARG002
        """The decoded stripes, ``[N, C, H]``. ``total`` is this rank's own sum, which only bugs use."""
        return out


def implementation(steps: type[OneShot]) -> OneShot:
    """Decorates a class of steps, so that its name is the implementation itself: ``f(x, group)``."""
    return steps()
