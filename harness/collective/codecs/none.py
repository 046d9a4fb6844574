"""No compression: the values as they are."""

import torch
from torch import Tensor

from harness.collective.codec import Codec, Parts


class NoCompression(Codec):
    """Sends the message in its own dtype; the sum is still taken in fp32 and rounded once.

    The control arm of a study: the collective's own data movement without a codec's error.
    """

    name = "none"

    def encode(self, x: Tensor, dtype: torch.dtype) -> Parts:
        return (x.to(dtype).contiguous(),)

    def decode(self, parts: Parts, width: int, dtype: torch.dtype) -> Tensor:
        return parts[0].to(torch.float32, copy=True)

    def row_bytes(self, width: int, dtype: torch.dtype) -> int:
        return width * dtype.itemsize

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        return torch.zeros_like(x)

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.zeros_like(x)
