"""What a backend is: the local work between two messages."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from harness.collective import spared_rows
from harness.collective.codec import Codec, Parts


class MissingBackendError(RuntimeError):
    """No backend can do what was asked; the message names what is missing."""


class Backend(ABC):
    """Encodes, and decodes and adds, on one kind of device.

    The abstract methods are the units a kernel would fuse, and write where their result is wanted: into a
    message or into the tensor that is returned. Rows may be none. Each must give what the codec's own
    ``encode`` and ``decode_sum`` give, bit for bit unless the backend's docstring says otherwise.
    """

    name: str

    piece_bytes: int | None = None
    """How much of all ranks' encoded messages to exchange at once; None for everything."""

    @abstractmethod
    def encode(self, codec: Codec, x: Tensor, out: Parts) -> None:
        """Encodes ``x`` ``[T, H]``, of any strides, to parts ``[T, ...]``."""

    @abstractmethod
    def decode_sum(self, codec: Codec, gathered: Parts, out: Tensor) -> None:
        """Decodes parts ``[N, T, ...]`` and adds them over N: ``[T, H]`` rounded once to ``out``'s dtype."""

    @abstractmethod
    def decode_sum_encode(self, codec: Codec, gathered: Parts, width: int, dtype: torch.dtype, out: Parts) -> None:
        """Like ``decode_sum``, but encodes the unrounded sum of a ``dtype`` message again: parts ``[T, ...]``."""

    def row_powers(self, x: Tensor) -> Tensor:
        """By which the rows of ``x`` ``[T, H]`` that are sent in full are chosen; see ``spared_rows``."""
        return spared_rows.row_powers(x)
