"""The reference: a codec's own torch operations, on whatever device the tensors are."""

import torch
from torch import Tensor

from harness.collective.backends.base import Backend
from harness.collective.codec import Codec, Parts
from harness.collective.scratch import Scratch


class Eager(Backend):
    """Whole-tensor torch operations. Right everywhere, fused nowhere."""

    name = "eager"

    def encode(self, codec: Codec, x: Tensor, out: Parts) -> None:
        codec.encode_into(x, x.dtype, out, Scratch())

    def decode_sum(self, codec: Codec, gathered: Parts, out: Tensor) -> None:
        out.copy_(codec.decode_sum(gathered, out.shape[1], out.dtype, Scratch()))

    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype, out: Parts) -> None:
        codec.decode_sum_encode(gathered, width, dtype, out, Scratch())
