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
        return tuple(part for _, part in self._views(messages))

    @contextmanager
    def writing(self, message: Tensor) -> Iterator[Parts]:
        """The parts of one message ``[bytes]``, ``[T, ...]``, to be written in the body of a ``with``."""
        views = self._views(message.unsqueeze(0))
        yield tuple(part[0] for _, part in views)
        for piece, part in views:
            if not _aligned(piece, part.dtype):
                piece.copy_(part.flatten(1).view(torch.uint8))

    def _views(self, messages: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each part as bytes ``[N, bytes]`` and as what they mean, ``[N, T, ...]``."""
        views = []
        end = 0
        for columns, dtype in self._layout:
            start, end = end, end + self._rows * columns * dtype.itemsize
            piece = messages[:, start:end]
            views.append((piece, _typed(piece, dtype).view(-1, self._rows, columns)))
        return views


def _typed(piece: Tensor, dtype: torch.dtype) -> Tensor:
    """``piece`` as ``dtype``: a view where its addresses are multiples of the element's size, else a copy.

    Messages filled up to such addresses would be larger than their codec states.
    """
    whole = piece if _aligned(piece, dtype) else piece.clone(memory_format=torch.contiguous_format)
    return whole.view(dtype)


def _aligned(piece: Tensor, dtype: torch.dtype) -> bool:
    return piece.storage_offset() % dtype.itemsize == 0 and piece.stride(0) % dtype.itemsize == 0
