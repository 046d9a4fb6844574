"""Two-shot whose ranks keep their own stripe as they summed it: FlashInfer's, and vLLM's proposal.

1. Each rank encodes its message in groups of 256 elements.
2. The owner of a stripe decodes everyone's and adds in fp32, in rank order.
3. It encodes the sum for the others, and keeps it unencoded. So the own stripe has gone through one encoding, all
   others through two, and every rank ends with a different tensor.

Stripes are blocks dealt to the ranks in turn. Bit for bit but for Triton's division (2 units in the last place) and
its fused multiplication and addition where the compiler makes one, so that a rare value is one step or its last bit
off; NaNs, which the sources leave to Triton's maximum, spread over their group here.
"""

import torch
from torch import Tensor

from harness.collective.mechanisms.mechanism import Elementwise, groups_of

GROUP = 256

SMALLEST_AMAX = 1e-12

LONG_MESSAGE = 1 << 25
"""Elements above which FlashInfer's blocks are four times as long."""


class FlashInferFp8(Elementwise):
    """FlashInfer's ``quantized_allreduce`` (flashinfer/comm/quantized_allreduce.py @0006e88, PR 3759).

    FP8 e4m3 of ``x (448 / amax)``, decoded by ``amax / 448``. It takes bf16 alone.
    """

    rank_counts: tuple[int, ...] = (2, 4, 8, 16)
    ranks_differ = True

    def __init__(self, name: str = "flashinfer_fp8") -> None:
        self.name = name

    def reduce(self, messages: Tensor) -> Tensor:
        ranks, elements = messages.shape
        x = groups_of(messages, GROUP)
        total = self.decoded(x[0])
        for own in x[1:]:
            total = total + self.decoded(own)
        owner = torch.arange(elements, device=messages.device) // self.block(elements) % ranks
        kept, received = total.flatten()[:elements], self.decoded(total).flatten()[:elements]
        return torch.stack([torch.where(owner == rank, kept, received) for rank in range(ranks)])

    def sent(self, elements: int, ranks: int) -> int:
        return -(-2 * (ranks - 1) * (elements + 4 * -(-elements // GROUP)) // ranks)

    def block(self, elements: int) -> int:
        """Neighbouring elements that have one owner."""
        return 4096 if elements <= LONG_MESSAGE else 16384

    def decoded(self, x: Tensor) -> Tensor:
        """What arrives of ``[..., groups, 256]``."""
        amax = x.abs().amax(dim=-1, keepdim=True).clamp_min(SMALLEST_AMAX)
        largest = amax.new_full((), 448.0)
        y = (x * (largest / amax)).clamp(-largest, largest)
        return y.to(torch.float8_e4m3fn).to(torch.float32) * (amax / largest)


class VllmProposal(FlashInferFp8):
    """vLLM's PR 39783, open (two_shot_quantized_allreduce.py @c532d57, quantized_all_reduce.py @65bbb75).

    ``x s`` with ``s = largest / amax``, decoded by a division by s. INT8 is cut off towards zero, not rounded: up
    to a step of error, and a lean towards zero. It takes bf16 alone.

    Beyond the module's, not bit for bit: the length of a block, hence whose elements are whose, comes from tuning
    files (1024 to 16384; 4096 here).
    """

    rank_counts = tuple(range(2, 17))

    def __init__(self, name: str, *, integers: bool) -> None:
        super().__init__(name)
        self._integers = integers

    def block(self, elements: int) -> int:
        return 4096

    def decoded(self, x: Tensor) -> Tensor:
        amax = x.abs().amax(dim=-1, keepdim=True).clamp_min(SMALLEST_AMAX)
        largest = amax.new_full((), 127.0 if self._integers else 448.0)
        scale = largest / amax
        y = (x * scale).clamp(-largest, largest)
        return (y.trunc() if self._integers else y.to(torch.float8_e4m3fn).to(torch.float32)) / scale
