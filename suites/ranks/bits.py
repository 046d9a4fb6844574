"""Whether results are the same to the last bit."""

import torch
from torch import Tensor


def bits(x: Tensor) -> Tensor:
    """A tensor's bits as integers, so that a NaN equals itself and -0.0 differs from 0.0."""
    return x.contiguous().view(torch.int16 if x.dtype.itemsize == 2 else torch.int32)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether shape, dtype and every bit agree."""
    return a.dtype == b.dtype and torch.equal(bits(a), bits(b))
