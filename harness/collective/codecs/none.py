"""No compression: the values as they are."""

import torch
from torch import Tensor

from harness.collective.codec import Codec, Layout, Parts
from harness.collective.scratch import Scratch


class NoCompression(Codec):
    """Sends the message in its own dtype; the sum is still taken in fp32 and rounded once.

    The control arm of a study: the collective's own data movement without a codec's error.
    """

    name = "none"

    def layout(self, width: int, dtype: torch.dtype) -> Layout:
        return ((width, dtype),)

    def encode_into(self, x: Tensor, dtype: torch.dtype, out: Parts, scratch: Scratch) -> None:
        out[0].copy_(x)

    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        out.copy_(parts[0])

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        return torch.zeros_like(x)

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.zeros_like(x)
