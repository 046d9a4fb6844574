"""Rows cut into groups of columns that share one scale."""

import torch
from torch import Tensor


def group_count(width: int, group: int | None) -> int:
    """Scales per row: 1 per token, or one per group with a shorter last group where needed."""
    return 1 if group is None else -(-width // group)


def to_blocks(x: Tensor, group: int | None) -> Tensor:
    """Views ``[..., H]`` as ``[..., groups, size]``.

    Where ``group`` does not divide H the last group is filled up with zeros, which change neither its
    largest magnitude nor, once ``from_blocks`` has cut them off, anything else.
    """
    if group is None:
        return x.unsqueeze(-2)
    count = group_count(x.shape[-1], group)
    if fill := count * group - x.shape[-1]:
        x = torch.nn.functional.pad(x, (0, fill))
    return x.reshape(*x.shape[:-1], count, group)


def from_blocks(blocks: Tensor, width: int) -> Tensor:
    """Undoes ``to_blocks``: ``[..., groups, size]`` to a contiguous ``[..., width]``."""
    return blocks.flatten(-2)[..., :width].contiguous()
