"""Encoded messages as they travel: all parts of a message next to each other, all ranks' in one buffer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.collective.codec import Codec, Parts


class MessageFormat:
    """Where the parts of encoded messages of ``[rows, width]`` lie in a buffer ``[N, bytes]``.

    One buffer needs one exchange, and what is encoded into its own place needs no copy to be sent.
    """

    def __init__(self, codec: Codec, rows: int, width: int, dtype: torch.dtype) -> None:
        self._rows = rows
        self._layout = codec.layout(width, dtype)
        self._bytes = rows * codec.row_bytes(width, dtype)

    def empty(self, count: int, device: torch.device) -> Tensor:
        """A buffer for ``count`` messages, uninitialized."""
        return torch.empty((count, self._bytes), dtype=torch.uint8, device=device)

    def parts(self, messages: Tensor) -> Parts:
        """The parts of messages ``[N, bytes]``, to be read: ``[N, T, ...]``."""
        pieces = zip(self._pieces(messages), self._layout, strict=True)
        return tuple(
            _typed(piece, dtype).view(len(messages), self._rows, columns) for piece, (columns, dtype) in pieces
        )

    @contextmanager
    def writing(self, message: Tensor) -> Iterator[Parts]:
        """The parts of one message ``[bytes]``, ``[T, ...]``, to be written in the body of a ``with``."""
        own = message.unsqueeze(0)
        parts = self.parts(own)
        yield tuple(part[0] for part in parts)
        for piece, part in zip(self._pieces(own), parts, strict=True):
            if not _aligned(piece, part.dtype):
                piece.copy_(part.flatten(1).view(torch.uint8))

    def _pieces(self, messages: Tensor) -> tuple[Tensor, ...]:
        sizes = [self._rows * columns * dtype.itemsize for columns, dtype in self._layout]
        return torch.split(messages, sizes, dim=1)


def _typed(piece: Tensor, dtype: torch.dtype) -> Tensor:
    """``piece`` as ``dtype``: a view where its addresses are multiples of the element's size, else a copy.

    Messages filled up to such addresses would be larger than their codec states.
    """
    whole = piece if _aligned(piece, dtype) else piece.clone(memory_format=torch.contiguous_format)
    return whole.view(dtype)


def _aligned(piece: Tensor, dtype: torch.dtype) -> bool:
    return piece.storage_offset() % dtype.itemsize == 0 and piece.stride(0) % dtype.itemsize == 0
