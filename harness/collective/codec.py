"""What a codec is: how one rank's tokens become bytes and come back, and what that costs in accuracy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Parts: TypeAlias = tuple[Tensor, ...]
"""An encoded message: tensors that are sent one after the other. Dimension 0 is always the token."""


class Codec(ABC):
    """Encodes the rows (tokens) of a matrix independently of each other.

    Row independence is what lets a backend work in cache-sized tiles and two-shot send stripes of rows.
    A codec holds its configuration only, so one instance serves every thread, group and device.
    """

    name: str

    rounds_sum: bool = False
    """Whether ``decode_sum`` rounds its result to the message's dtype itself."""

    @abstractmethod
    def encode(self, x: Tensor, dtype: torch.dtype) -> Parts:
        """Encodes ``x``.

        Args:
            x: ``[T, H]``, floating point, T and H at least 1. Two-shot passes an fp32 sum here.
            dtype: The dtype of the message being reduced, which may be narrower than ``x.dtype``.

        Returns:
            The parts to send, each contiguous with T as its first dimension.
        """

    @abstractmethod
    def decode(self, parts: Parts, width: int, dtype: torch.dtype) -> Tensor:
        """Decodes what ``encode`` returned.

        Args:
            parts: Encoded rows.
            width: H of the encoded matrix.
            dtype: The dtype of the message being reduced.

        Returns:
            ``[T, H]`` in fp32, owned by the caller, who may write to it; or in ``dtype`` where the codec
            reproduces an arithmetic that multiplies in it.
        """

    def decode_sum(self, gathered: Parts, width: int, dtype: torch.dtype) -> Tensor:
        """Decodes every rank's message and adds them in fp32, in rank order.

        A fixed order and precision make the result bitwise the same wherever it is computed.

        Args:
            gathered: Parts with a leading rank dimension, ``[N, T, ...]``.
            width: H of the encoded matrix.
            dtype: The dtype of the message being reduced.

        Returns:
            ``[T, H]``: the sum before its last rounding to ``dtype``.
        """
        total = self.decode(tuple(part[0] for part in gathered), width, dtype)
        for rank in range(1, gathered[0].shape[0]):
            total += self.decode(tuple(part[rank] for part in gathered), width, dtype)
        return total

    @abstractmethod
    def row_bytes(self, width: int, dtype: torch.dtype) -> int:
        """Bytes that one encoded row of ``width`` elements takes on the wire, scales included."""

    @abstractmethod
    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """Bounds one encoding's error, element by element.

        Args:
            x: ``[..., T, H]`` in fp64, finite.
            dtype: The dtype of the message being reduced.
            margin: How far, per element, the encoded value may lie from ``x``: two-shot encodes a sum
                that is itself approximate.

        Returns:
            fp64, of ``x``'s shape: no smaller than ``|decode(encode(v)) - v|`` for any v within
            ``margin`` of ``x``.
        """

    @abstractmethod
    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Predicts one encoding's squared error per element, as a mean over data like ``x``.

        Args:
            x: ``[..., T, H]`` in fp64, finite.
            dtype: The dtype of the message being reduced.

        Returns:
            fp64, of ``x``'s shape. Sum it over ranks for a collective's noise.
        """


def leading_rows(shape: Sequence[int]) -> int:
    """Tokens in a tensor of this shape: the product of all dimensions but the last."""
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows
