"""TensorRT-LLM's low-precision all-reduce.

Source: cpp/tensorrt_llm/kernels/communicationKernels/customLowPrecisionAllReduceKernels.cu @1a43c7d (PR 3851).
"""

import torch
from torch import Tensor

from harness.collective.mechanisms.mechanism import Elementwise, groups_of

GROUP = 496
"""Elements of a group, whose 512 bytes end in an fp32 scale and 12 bytes of nothing."""

HIERARCHICAL = 8
"""Ranks over which it sums within two halves first."""


class LowPrecision(Elementwise):
    """FP8 e4m3 of ``x (448 / amax)`` in groups that begin anew at each rank's slice, decoded by a division.

    Over 2 and 4 ranks two-shot: the slice's owner adds in fp32 from its own rank on (r, r + 1, ..., r - 1) and
    encodes the sum, which every rank decodes, the owner too. Over 8, each four ranks of a host's half sum and
    encode, both halves' sums are added and encoded again, and gathered: three encodings.

    Bit for bit over 2 and 4 ranks, but for NaNs and for messages that the ranks don't divide (filled up with zeros
    here). Not over 8: the source as known does not say where groups begin in the second stage, nor from which rank
    on a half adds (slices of an eighth, and the slice's number within the half, here).
    """

    name = "tensorrt_llm_fp8"
    rank_counts = (2, 4, 8)

    def reduce(self, messages: Tensor) -> Tensor:
        ranks, elements = messages.shape
        slices = groups_of(messages, -(-elements // ranks))
        first = _decoded(slices)  # [sender, slice, elements]
        if ranks == HIERARCHICAL:
            half = ranks // 2
            sums = [_in_turn(first[start : start + half]) for start in (0, half)]
            total = _decoded(sums[0]) + _decoded(sums[1])
        else:
            total = _in_turn(first)
        result = _decoded(total).flatten()[:elements]
        return result.expand(messages.shape)

    def sent(self, elements: int, ranks: int) -> int:
        """``2 (N - 1)`` slices: over 8 ranks 6 within the half, 1 to the other one, and 7 to everyone."""
        slice_elements = -(-elements // ranks)
        return 2 * (ranks - 1) * -(-slice_elements // GROUP) * 512


def _in_turn(terms: Tensor) -> Tensor:
    """Adds ``[N, slices, elements]`` over N, each slice from the rank of its number (modulo N) on."""
    ranks, count = terms.shape[:2]
    numbers = torch.arange(count, device=terms.device)
    total = terms[numbers % ranks, numbers]
    for turn in range(1, ranks):
        total = total + terms[(numbers + turn) % ranks, numbers]
    return total


def _decoded(slices: Tensor) -> Tensor:
    """What arrives of ``[..., elements]``, each in groups of its own."""
    x = groups_of(slices, GROUP)
    amax = x.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(amax == 0, 1.0, amax.new_full((), 448.0) / amax)
    y = (x * scale).clamp(-448.0, 448.0).to(torch.float8_e4m3fn).to(torch.float32)
    return (y / scale).flatten(-2)[..., : slices.shape[-1]]
