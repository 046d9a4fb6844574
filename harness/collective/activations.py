"""Real activations: what o_proj and down_proj gave on each rank before their all-reduce.

File format: a ``torch.save`` of a list of dicts, one per captured call, in the order of the calls::

    {"layer": 0, "site": "attention", "values": Tensor[ranks, tokens, hidden]}

``layer`` counts from 0, ``site`` is ``attention`` (o_proj) or ``ffn`` (down_proj); ``values`` is bf16, fp16 or
fp32, on the CPU, and holds every rank's partial sum of the same call, in rank order. The plugin writes it, and
``suites.numerics.activations`` reads it.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

SITES = ("attention", "ffn")


@dataclass(frozen=True, kw_only=True)
class Activation:
    """One all-reduce's inputs: ``values`` is ``[ranks, tokens, hidden]``."""

    layer: int
    site: str
    values: Tensor


def save_activations(path: str | Path, captured: Sequence[Activation]) -> None:
    """Writes the file, which is there whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    torch.save([{**asdict(one), "values": one.values.contiguous()} for one in captured], partial)
    os.replace(partial, path)  # noqa: PTH105 - atomic, and named so
