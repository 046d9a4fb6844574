"""What a codec is: how one rank's tokens become bytes and come back, and what that costs in accuracy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

import torch
from torch import Tensor

from harness.collective.scratch import Scratch

Parts: TypeAlias = tuple[Tensor, ...]
"""An encoded message: tensors that are sent one after the other. Dimension 0 is always the token."""

Layout: TypeAlias = tuple[tuple[int, torch.dtype], ...]
"""Each part's columns and dtype."""


class Codec(ABC):
    """Encodes the rows (tokens) of a matrix independently of each other.

    Row independence is what lets a backend work in cache-sized tiles and two-shot send stripes of rows.
    A codec holds its configuration only, so one instance serves every thread, group and device.
    """

    name: str

    rounds_sum: bool = False
    """Whether ``decode_sum`` rounds its result to the message's dtype itself."""

    spared_rows: Fraction = Fraction(0)
    """The share of a message's rows that the collective sends in full, beside what the codec encodes.

    These rows are zero in what reaches ``encode_into``: ``harness.collective.spared_rows`` cuts them out.
    """

    @abstractmethod
    def layout(self, width: int, dtype: torch.dtype) -> Layout:
        """Columns and dtype of each part of an encoded matrix of ``width`` columns.

        Args:
            width: H of the matrix.
            dtype: The dtype of the message being reduced.
        """

    @abstractmethod
    def encode_into(self, x: Tensor, dtype: torch.dtype, out: Parts, scratch: Scratch) -> None:
        """Encodes ``x`` to where it is wanted.

        Args:
            x: ``[T, H]``, floating point, of any strides; H at least 1, T possibly 0. Two-shot passes an
                fp32 sum here.
            dtype: The dtype of the message being reduced, which may be narrower than ``x.dtype``.
            out: The parts to write, ``[T, columns]`` as in ``layout``. Overlaps neither ``x`` nor scratch.
            scratch: Memory for intermediate results.
        """

    def encode(self, x: Tensor, dtype: torch.dtype) -> Parts:
        """Encodes ``x`` ``[T, H]`` to parts in memory of their own."""
        layout = self.layout(x.shape[1], dtype)
        parts = tuple(torch.empty((len(x), columns), dtype=kind, device=x.device) for columns, kind in layout)
        self.encode_into(x, dtype, parts, Scratch())
        return parts

    @abstractmethod
    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        """Decodes what ``encode`` returned.

        Args:
            parts: Encoded rows.
            dtype: The dtype of the message being reduced.
            out: To be written: fp32, ``[T, H]`` of the encoded matrix, contiguous.
        """

    def decode(self, parts: Parts, width: int, dtype: torch.dtype) -> Tensor:
        """Decodes to an fp32 ``[T, width]`` of its own."""
        out = torch.empty((len(parts[0]), width), dtype=torch.float32, device=parts[0].device)
        self.decode_into(parts, dtype, out)
        return out

    def decode_sum(self, gathered: Parts, width: int, dtype: torch.dtype, scratch: Scratch) -> Tensor:
        """Decodes every rank's message and adds them in fp32, in rank order.

        A fixed order and precision make the result bitwise the same wherever it is computed.

        Args:
            gathered: Parts with a leading rank dimension, ``[N, T, ...]``.
            width: H of the encoded matrix.
            dtype: The dtype of the message being reduced.
            scratch: Memory for intermediate results, and for the result.

        Returns:
            ``[T, H]``: the sum before its last rounding to ``dtype``. Valid until ``decode_sum`` is called
            with the same scratch again.
        """
        ranks, rows = gathered[0].shape[:2]
        total = scratch.tensor("total", (rows, width), gathered[0].device)
        self.decode_into(tuple(part[0] for part in gathered), dtype, total)
        term = scratch.tensor("spare", (rows, width), gathered[0].device)
        for rank in range(1, ranks):
            self.decode_into(tuple(part[rank] for part in gathered), dtype, term)
            total += term
        return total

    def decode_sum_encode(
        self, gathered: Parts, width: int, dtype: torch.dtype, out: Parts, scratch: Scratch
    ) -> None:
        """Decodes and adds as ``decode_sum`` does, and encodes the sum to ``out``: two-shot's second encoding."""
        self.encode_into(self.decode_sum(gathered, width, dtype, scratch), dtype, out, scratch)

    def row_bytes(self, width: int, dtype: torch.dtype) -> int:
        """Bytes that one encoded row of ``width`` elements takes on the wire, scales included."""
        return sum(columns * kind.itemsize for columns, kind in self.layout(width, dtype))

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

    def added_magnitude(self, magnitudes: Tensor) -> Tensor:
        """In units of which adding ranks' messages may err in an element, as a multiple of fp32's unit roundoff.

        Args:
            magnitudes: ``[..., H]`` in fp64, of what is added.

        Returns:
            These magnitudes where messages are added element by element.
        """
        return magnitudes

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
