"""The reference: a codec's own torch operations, on whatever device the tensors are."""

import torch
from torch import Tensor

from harness.collective.backends.base import Backend
from harness.collective.codec import Codec, Parts


class Eager(Backend):
    """Whole-tensor torch operations. Right everywhere, fused nowhere."""

    name = "eager"

    def encode(self, codec: Codec, x: Tensor) -> Parts:
        return codec.encode(x, x.dtype)

    def decode_sum(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype) -> Tensor:
        return codec.decode_sum(gathered, width, dtype).to(dtype)

    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype) -> Parts:
        return codec.encode(codec.decode_sum(gathered, width, dtype), dtype)
