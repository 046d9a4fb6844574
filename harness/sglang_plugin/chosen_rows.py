"""Some rows of a message compressed, all others summed plainly: which rows the harm comes from."""

import torch
from torch import Tensor

from harness.collective.spared_rows import row_powers
from harness.sglang_plugin.codecs import Simulated
from harness.sglang_plugin.policy import CREST, Rows


def chosen(rows: Rows, parts: Tensor, positions: Tensor) -> Tensor:
    """Return which rows these are: bool, `[T]`.

    Args:
        rows: Which ones.
        parts: All ranks' messages, `[N, T, H]`.
        positions: Of the tokens in their sequences, `[T]`.

    Raises:
        ValueError: There is not one position for each row.
    """
    if rows.by == CREST:
        # A row's place among all of the sum: in the middle of its own share of them.
        order = crest(parts).argsort(stable=True)
        place = torch.empty_like(order, dtype=torch.float64)
        place[order] = (torch.arange(len(order), dtype=torch.float64, device=order.device) + 0.5) / len(order) * 100
    elif len(positions) == parts.shape[1]:
        place = positions.to(torch.float64)
    else:
        raise ValueError(f"{parts.shape[1]} rows have {len(positions)} positions: no row can be told by its own")
    return (place >= rows.low) & (place < rows.high)


def crest(parts: Tensor) -> Tensor:
    """Return the largest crest factor, amax over rms, of the ranks' parts of each row: `[N, T, H]` -> `[T]`, fp32.

    A row of zeros has 0, and so has one that holds a NaN or an infinity.
    """
    powers = row_powers(parts.flatten(0, 1)).view(parts.shape[:2])
    return (parts.shape[-1] / powers).sqrt().nan_to_num(nan=0.0).amax(dim=0)


def sum_chosen(total: Tensor, which: Tensor, parts: Tensor, compressed: Simulated) -> Tensor:
    """Return `total` `[T, H]` with the rows `which` `[T]` summed by `compressed` instead.

    Args:
        total: The plain sum; it is written to.
        which: bool.
        parts: All ranks' messages, `[N, T, H]`.
        compressed: f(`[N, k, H]`) -> `[k, H]`.
    """
    if which.any():
        total[which] = compressed(parts[:, which].contiguous()).to(total.dtype)
    return total
