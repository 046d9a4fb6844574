"""Memory for the intermediate results of one tile after the other."""

import math

import torch
from torch import Tensor


class Scratch:
    """fp32 tensors that are handed out again and again.

    Fresh memory costs more than the arithmetic done in it: the kernel clears every page on its first use.
    Not for two threads at once.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.device], Tensor] = {}

    def tensor(self, name: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """An uninitialized, contiguous tensor, in the same memory as the last one of this name."""
        size = math.prod(shape)
        buffer = self._buffers.get((name, device))
        if buffer is None or buffer.numel() < size:
            # A tensor made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                buffer = torch.empty(size, dtype=torch.float32, device=device)
            self._buffers[name, device] = buffer
        return buffer[:size].view(shape)
