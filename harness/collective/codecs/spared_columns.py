"""A model's few outlier columns sent in full, and the rest by a codec."""

import torch
from torch import Tensor

from harness.collective.codec import Codec, Layout, Parts
from harness.collective.scratch import Scratch


class SparedColumns(Codec):
    """Fixed columns in the message's dtype; the base codec encodes the others, and zeros in these.

    Of a model, calibration finds the columns whose magnitudes set every row's scale (arXiv 2411.07942 selects
    them so); they are the same for every message, so that no index travels and rows stay independent.

    Raises:
        ValueError: No column, one twice, or a base that rounds its own sum or spares something itself.
    """

    def __init__(self, name: str, base: Codec, columns: tuple[int, ...]) -> None:
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(f"{name!r}: spared columns are one or more, each named once")
        if base.rounds_sum or base.spared_rows or isinstance(base, SparedColumns):
            raise ValueError(f"{name!r}: columns cannot be spared from what {base.name!r} encodes")
        self.name = name
        self.base = base
        self.columns = tuple(sorted(columns))

    def layout(self, width: int, dtype: torch.dtype) -> Layout:
        """The base codec's, and the columns.

        Raises:
            ValueError: A row has fewer columns than were named: they are of another model.
        """
        if self.columns[-1] >= width:
            raise ValueError(f"{self.name!r} spares column {self.columns[-1]}, but a row has {width} columns")
        return (*self.base.layout(width, dtype), (len(self.columns), dtype))

    def rest(self, x: Tensor, out: Tensor) -> Tensor:
        """Copies ``x`` ``[..., H]`` to ``out``, zero in the spared columns; returns ``out``."""
        out.copy_(x)
        for column in self.columns:
            out[..., column].zero_()
        return out

    def take(self, x: Tensor, out: Tensor) -> None:
        """Copies the spared columns of ``x`` ``[..., H]`` to ``out`` ``[..., columns]``."""
        # One by one: a list of indices would be a tensor to be sent to the device first.
        for place, column in enumerate(self.columns):
            out[..., place].copy_(x[..., column])

    def put(self, columns: Tensor, out: Tensor) -> None:
        """Copies ``[..., columns]`` to where they belong in ``out`` ``[..., H]``."""
        for place, column in enumerate(self.columns):
            out[..., column].copy_(columns[..., place])

    @staticmethod
    def columns_sum(gathered: Tensor) -> Tensor:
        """Adds spared columns ``[N, T, columns]`` over N, in fp32 and rank order."""
        total = gathered[0].to(torch.float32)
        for own in gathered[1:]:
            total = total + own
        return total

    def encode_into(self, x: Tensor, dtype: torch.dtype, out: Parts, scratch: Scratch) -> None:
        rest = self.rest(x, scratch.tensor("rest", tuple(x.shape), x.device))
        self.base.encode_into(rest, dtype, out[:-1], scratch)
        self.take(x, out[-1])

    def decode_into(self, parts: Parts, dtype: torch.dtype, out: Tensor) -> None:
        self.base.decode_into(parts[:-1], dtype, out)
        self.put(parts[-1], out)

    def decode_sum(self, gathered: Parts, width: int, dtype: torch.dtype, scratch: Scratch) -> Tensor:
        total = self.base.decode_sum(gathered[:-1], width, dtype, scratch)
        self.put(self.columns_sum(gathered[-1]), total)
        return total

    def decode_sum_encode(
        self, gathered: Parts, width: int, dtype: torch.dtype, out: Parts, scratch: Scratch
    ) -> None:
        self.base.decode_sum_encode(gathered[:-1], width, dtype, out[:-1], scratch)
        out[-1].copy_(self.columns_sum(gathered[-1]))

    def error_bound(self, x: Tensor, dtype: torch.dtype, margin: Tensor | float = 0.0) -> Tensor:
        """The base codec's for what it encodes; the spared columns have no error, as with codec ``none``."""
        if isinstance(margin, Tensor):
            margin = self.rest(margin, torch.empty_like(margin))
        bound = self.base.error_bound(self.rest(x, torch.empty_like(x)), dtype, margin)
        return self.rest(bound, bound)

    def added_magnitude(self, magnitudes: Tensor) -> Tensor:
        added = self.base.added_magnitude(self.rest(magnitudes, torch.empty_like(magnitudes)))
        for column in self.columns:
            added[..., column] = magnitudes[..., column]
        return added

    def noise_power(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        noise = self.base.noise_power(self.rest(x, torch.empty_like(x)), dtype)
        return self.rest(noise, noise)
