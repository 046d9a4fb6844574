"""Memory for the intermediate results of one tile after the other."""

import math

import torch
from torch import Tensor


class Scratch:
    """Tensors that are handed out again and again.

    Fresh memory costs more than the arithmetic done in it: the kernel clears every page on its first use.
    Not for two threads at once.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def tensor(
        self, name: str, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """An uninitialized, contiguous tensor, in the same memory as the last one of this name and dtype."""
        size = math.prod(shape)
        buffer, last = self._buffers.get((name, device, dtype), (None, None))
        if last is not None and last.shape == shape:
            return last
        if buffer is None or buffer.numel() < size:
            # A tensor made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                buffer = torch.empty(size, dtype=dtype, device=device)
        last = buffer[:size].view(shape)
        self._buffers[name, device, dtype] = buffer, last
        return last
