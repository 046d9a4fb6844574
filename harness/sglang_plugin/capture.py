"""Keeps the messages of one prefill, all ranks', as `harness.collective.activations` describes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.collective.activations import Activation, save_activations
from harness.collective.algorithms.exchange import everyones

TOKENS = 64
"""A prefill of fewer tokens is passed over: a server warms up with a handful."""


class Capture:
    """Writes `file` once: rank 0's process gathers the first prefill of at least TOKENS tokens."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._open = False
        self._captured: list[Activation] = []

    @contextmanager
    def forward(self, tokens: int) -> Iterator[None]:
        """Capture what is compressed inside, if this forward pass is the one."""
        self._open = self._file is not None and tokens >= TOKENS
        yield
        self._open = False
        if self._file is not None and self._captured:
            if torch.distributed.get_rank() == 0:
                save_activations(self._file, self._captured)
            self._file, self._captured = None, []

    def message(self, site: str, layer: int, group: Any, x: Tensor) -> None:  # noqa: ANN401 - GroupCoordinator
        """Keep one call's messages, `[T, H]` on each rank."""
        if self._open:
            values = everyones(x.detach(), group.device_group)
            self._captured.append(Activation(layer=layer, site=site, values=values.cpu()))
