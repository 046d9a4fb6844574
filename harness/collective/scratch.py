"""Memory for the intermediate results of one tile after the other."""

import torch
from torch import Tensor


class Scratch:
    """fp32 matrices that are handed out again and again.

    Fresh memory costs more than the arithmetic done in it: the kernel clears every page on its first use.
    Not for two threads at once.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.device], Tensor] = {}

    def matrix(self, name: str, rows: int, columns: int, device: torch.device) -> Tensor:
        """An uninitialized ``[rows, columns]``, the same memory as the last one of this name."""
        size = rows * columns
        buffer = self._buffers.get((name, device))
        if buffer is None or buffer.numel() < size:
            # A tensor made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                buffer = torch.empty(size, dtype=torch.float32, device=device)
            self._buffers[name, device] = buffer
        return buffer[:size].view(rows, columns)
