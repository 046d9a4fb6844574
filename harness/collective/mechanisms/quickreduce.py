"""ROCm QuickReduce, as vLLM, SGLang and aiter share it: two-shot, every step rounded to fp16.

Sources: vllm-project/vllm csrc/quickreduce/quick_reduce_impl.cuh @0bf6342 and base.h @1e8e860 (PR 19744; INT3: PR
45666), sgl-project/sglang quick_all_reduce.cuh @38c587c (PR 6619), ROCm/aiter quick_all_reduce.cuh @e404860.

Bit for bit but for: the hardware's reciprocal, which may err by a unit in the last place (correctly rounded here), so
that a rare value is one step off; and NaNs, about which the sources say nothing (here they are as large as the
group's extremum, as a NaN product is: the instruction that clamps takes the number of a number and a NaN). SGLang's
PR 34484, which clamps on gfx950 too, was not read.
"""

import torch
from torch import Tensor

from harness.collective.mechanisms.mechanism import Elementwise, groups_of

TILE = 16384
"""Elements that are sent as one, the last tile filled up with zeros."""

GROUP = 32
"""Elements that share a scale: of 64 neighbours those of even number, or those of odd number."""

FP16_LARGEST = 65504.0


class QuickReduce(Elementwise):
    """INT8, INT6, INT4 or INT3: ``x / dec`` rounded to even in [-n, n-1], ``dec = -extremum / n`` in fp16.

    The extremum keeps its sign and always lies on -n; of the other sign, what exceeds (n - 1) / n of it is
    clipped. A group whose extremum is below n / 65504 is too small for fp16's reciprocals, and a message or a
    partial sum above 65504 too large for fp16: attenuated and clamped with ``clamp``, lost without.

    Args:
        bits: 8, 6, 4 or 3.
        dtype: fp16, to which bf16 messages are cast by default, or bf16, in which they stay if that is off.
        clamp: Whether what overflows fp16 is clamped (gfx942's mode) or becomes infinite (gfx950).
    """

    def __init__(self, name: str, bits: int, dtype: torch.dtype = torch.float16, *, clamp: bool = True) -> None:
        self.name = name
        # With INT3, QuickReduce turns itself off elsewhere.
        self.rank_counts = (2,) if bits == 3 else (2, 4, 8)  # noqa: PLR2004
        self._bits, self._steps = bits, float(1 << bits - 1)
        self._dtype, self._clamp = dtype, clamp
        # In fp16 the number whose bits are 0x0001, in bf16 0x33D7.
        self._epsilon = 2.0**-24 if dtype == torch.float16 else float.fromhex("0x1.aep-24")

    def reduce(self, messages: Tensor) -> Tensor:
        pairs = groups_of(self._rounded(messages), 2 * GROUP).reshape(len(messages), -1, GROUP, 2)
        x = pairs.transpose(-1, -2).contiguous()
        total = self._sent(x[0])
        for own in x[1:]:
            total = self._rounded(total + self._sent(own))
        result = self._sent(total).transpose(-1, -2).flatten()[: messages.shape[1]]
        return result.expand(messages.shape)

    def sent(self, elements: int, ranks: int) -> int:
        tiles = -(-elements // TILE)
        # Every value takes its bits, and a 32nd of an fp16 scale.
        return 2 * (ranks - 1) * tiles * (TILE // ranks * (2 * self._bits + 1) // 16)

    def _rounded(self, x: Tensor) -> Tensor:
        """fp32 numbers rounded to the arithmetic's dtype: one operation on such numbers, as the hardware does it."""
        if self._clamp and self._dtype == torch.float16:
            x = torch.where(x.isinf(), x, x.clamp(-FP16_LARGEST, FP16_LARGEST))
        return x.to(self._dtype).to(torch.float32)

    def _sent(self, x: Tensor) -> Tensor:
        """Encodes and decodes ``[..., 32]``."""
        numbers = x.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        largest, smallest = numbers.amax(dim=-1, keepdim=True), numbers.amin(dim=-1, keepdim=True)
        # Of zeros of both signs, which one is the largest depends on the device.
        extremum = torch.where(largest > -smallest, largest, smallest) + 0.0
        step = self._rounded(extremum * (-1 / self._steps))
        q = self._rounded(x * self._reciprocal(step)).clamp(-self._steps, self._steps - 1).round()
        return self._rounded(q.nan_to_num(nan=-self._steps) * step)

    def _reciprocal(self, step: Tensor) -> Tensor:
        shifted = self._rounded(step + self._epsilon)
        return self._rounded(torch.ones_like(shifted) / shifted)


class AiterFp8(QuickReduce):
    """aiter's FP8, in the place of INT8: ``step = amax / 240`` in fp16, FP8 e4m3 of ``x / step``.

    On gfx942, of whose format 240 is the largest number. (gfx950 scales its own, which goes to 448, to 240 as well;
    what its conversion makes of the infinities of small groups is not known, so that there is no such mechanism
    here.) Beyond QuickReduce's, not bit for bit: what the conversion makes of infinite inputs (NaN here).
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, 8)

    def _sent(self, x: Tensor) -> Tensor:
        amax = x.abs().amax(dim=-1, keepdim=True)
        step = self._rounded(amax * self._rounded(amax.new_full((), 1 / 240)))
        y = self._rounded(x * self._reciprocal(step))
        return self._rounded(y.to(torch.float8_e4m3fnuz).to(torch.float32) * step)
