"""Two servers' predictions compared over the whole vocabulary, of which each rank computes and holds its own part.

SGLang gives every rank the whole: on a CPU, to carry the other half over and to go through it twice takes longer than
to compute it. Here ranks exchange a few numbers for each token. All ranks must ask alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sglang.srt.distributed import get_tp_group
from sglang.srt.layers.logits_processor import LogitsMetadata
from torch import Tensor

from harness.sglang_plugin.releases import logits

CACHED_ELEMENTS = 2**20
"""Elements whose temporaries a processor's cache holds: then this costs a quarter of the time."""


@dataclass(frozen=True)
class Head:
    """SGLang's own way from final hidden states to logits, in one prefill.

    Attributes:
        processor: SGLang's LogitsProcessor.
        lm_head: The model's head.
        batch: SGLang's ForwardBatch.
    """

    processor: Any
    lm_head: Any
    batch: Any

    @property
    def ranks(self) -> int:
        """Among how many ranks the vocabulary is divided; 1 where SGLang has another way to the whole of it."""
        processor = self.processor
        otherwise = processor.use_attn_tp_group or processor.do_tensor_parallel_all_gather_dp_attn
        return get_tp_group().world_size if processor.do_tensor_parallel_all_gather and not otherwise else 1

    @property
    def columns(self) -> int:
        """Of how many tokens a rank holds the log-probabilities, at most."""
        return -(-int(self.processor.config.vocab_size) // self.ranks)

    def log_probabilities(self, states: Tensor) -> "Part":
        """Return this rank's part of the log-probabilities, fp32, after final hidden states `[T, hidden size]`."""
        processor, ranks = self.processor, self.ranks
        asked = processor.use_fp32_lm_head, processor.do_tensor_parallel_all_gather
        processor.use_fp32_lm_head, processor.do_tensor_parallel_all_gather = True, asked[1] and ranks == 1
        try:
            own = logits(processor, states, self.lm_head, LogitsMetadata.from_forward_batch(self.batch))
        finally:
            processor.use_fp32_lm_head, processor.do_tensor_parallel_all_gather = asked
        if ranks == 1:
            return Part(torch.log_softmax(own.float(), dim=-1), first=0, ranks=1)
        # The last rank's part is filled up with what is no token.
        first = get_tp_group().rank_in_group * own.shape[-1]
        own = own[:, : processor.config.vocab_size - first].float()
        largest = own.amax(dim=-1)
        pairs = zip(blocks(own), blocks(largest, width=own.shape[-1]), strict=True)
        total = torch.cat([(block - top.unsqueeze(-1)).exp_().sum(dim=-1) for block, top in pairs])
        all_largest, totals = gathered(torch.stack([largest, total])).unbind(dim=1)
        largest = all_largest.amax(dim=0)
        whole = (totals * (all_largest - largest).exp()).sum(dim=0)
        return Part(own.sub_((largest + whole.log()).unsqueeze(-1)), first=first, ranks=ranks)


@dataclass(frozen=True)
class Part:
    """One rank's part of log-probabilities.

    Attributes:
        own: `[T, columns]`, fp32.
        first: The token of its first column.
        ranks: How many ranks hold a part.
    """

    own: Tensor
    first: int
    ranks: int

    def __getitem__(self, rows: slice) -> "Part":
        """Return some rows of it, without a copy."""
        return Part(self.own[rows], self.first, self.ranks)


def join(parts: Sequence[Part]) -> Part:
    """Return the rows of several parts as one."""
    return Part(torch.cat([part.own for part in parts]), parts[0].first, parts[0].ranks)


def compare(baseline: Part, candidate: Part, following: Tensor) -> dict[str, list[Any]]:
    """Compare two servers' predictions.

    Args:
        baseline: Log-probabilities, T rows.
        candidate: Log-probabilities, likewise.
        following: The token that follows each, `[T]`.

    Returns:
        The columns of a line of predictions.jsonl, T values each; the same on all ranks.
    """
    kl = torch.cat([_kl(*block) for block in zip(blocks(baseline.own), blocks(candidate.own), strict=True)])
    found = [kl]
    column = following - baseline.first
    inside = (column >= 0) & (column < baseline.own.shape[-1])
    for part in (baseline, candidate):
        own = part.own.gather(-1, column.where(inside, 0).unsqueeze(-1)).squeeze(-1)
        # `argmax` takes three times as long on a CPU.
        largest, place = part.own.max(dim=-1)
        # As fp32, which knows all numbers up to 2^24: there are fewer tokens.
        found += [own.where(inside, 0.0), largest, (place + part.first).to(kl.dtype)]
    parts = torch.stack(found)
    kl, *told = (gathered(parts) if baseline.ranks > 1 else parts.unsqueeze(0)).unbind(dim=1)
    likely = [_first_largest(largest, place) for largest, place in (told[1:3], told[4:6])]
    return {
        "kl": _short(kl.sum(dim=0)),
        "baseline": _short(told[0].sum(dim=0)),
        "candidate": _short(told[3].sum(dim=0)),
        "same_top": (likely[0] == likely[1]).tolist(),
        "baseline_top": likely[0].long().tolist(),
        "candidate_top": likely[1].long().tolist(),
    }


def gathered(own: Tensor) -> Tensor:
    """Return what every rank has, `[ranks, *own.shape]`."""
    group = get_tp_group()
    return group.all_gather(own.unsqueeze(0).contiguous(), dim=0)  # type: ignore[no-any-return]


def _first_largest(largest: Tensor, place: Tensor) -> Tensor:
    """Return the token of the largest of all parts, the first of several: `[ranks, T]` -> `[T]`."""
    return place.where(largest == largest.amax(dim=0), torch.inf).amin(dim=0)


def blocks(rows: Tensor, width: int | None = None) -> tuple[Tensor, ...]:
    """Return rows some at a time: so many as a processor's cache holds, of that width or their own."""
    return torch.split(rows, max(1, CACHED_ELEMENTS // (width or rows.shape[-1])))


def _kl(baseline: Tensor, candidate: Tensor) -> Tensor:
    # Not exp(b) b - exp(b) c: where both are alike, that is a difference of large numbers; this is exactly 0.
    return (baseline.exp() * (baseline - candidate)).sum(dim=-1)


def _short(values: Tensor) -> list[float]:
    """Return what of fp32 values means anything, in few digits."""
    return [float(f"{value:.7g}") for value in values.tolist()]
