"""A group's all-reduces, plain and compressed, with a count of each."""

import logging
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, distributed

from harness.collective.algorithms.exchange import Group
from harness.collective.backends.base import MissingBackendError

logger = logging.getLogger(__name__)

Compressed: TypeAlias = Callable[[Tensor, Group], Tensor]
"""``f(x, group)``: a compressed all-reduce, such as ``quant_all_reduce``."""


class Coordinator:
    """Delegates to a compressed all-reduce where there is one, and says so where there is none.

    The counterpart of SGLang's ``GroupCoordinator``, which runs a plain all-reduce without a word where
    compression is unavailable: a run that never compressed then looks like one that did. Here that is an
    error, unless ``plain_without`` asks for it; then it is logged, and counted.
    """

    def __init__(self, group: Group, compressed: Compressed | None, *, plain_without: bool = False) -> None:
        self.group = group
        self.compressed_calls = 0
        self.plain_calls = 0
        self._compressed = compressed
        self._plain_without = plain_without

    @property
    def ranks(self) -> int:
        """The group's size."""
        return distributed.get_world_size(self.group)

    def all_reduce(self, x: Tensor) -> Tensor:
        """Sums ``x`` over the group, uncompressed. ``x`` is left as it was."""
        self.plain_calls += 1
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total, group=self.group)
        return total

    def quant_all_reduce(self, x: Tensor) -> Tensor:
        """Sums ``x`` over the group, compressed.

        Raises:
            MissingBackendError: There is no compressed all-reduce and ``plain_without`` is false.
        """
        if self._compressed is not None:
            self.compressed_calls += 1
            return self._compressed(x, self.group)
        if not self._plain_without:
            raise MissingBackendError(
                "a compressed all-reduce was asked for, but this group was given none; "
                "give one, or accept plain all-reduces with plain_without=True",
            )
        logger.warning("plain all-reduce in place of a compressed one, call %d", self.plain_calls + 1)
        return self.all_reduce(x)
