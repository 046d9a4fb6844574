"""Real activations: what o_proj and down_proj gave on each rank before their all-reduce.

File format: a ``torch.save`` of a list of dicts, one per captured call, in the order of the calls::

    {"layer": 0, "site": "attention", "values": Tensor[ranks, tokens, hidden]}

``layer`` counts from 0, ``site`` is ``attention`` (o_proj) or ``ffn`` (down_proj); ``values`` is bf16, fp16 or
fp32, on the CPU, and holds every rank's partial sum of the same call, in rank order. The plugin writes it, and
the numerical suite tries collectives on it.
"""

import functools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

SITES = ("attention", "ffn")
AXES = ("ranks", "tokens", "hidden")


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


@functools.lru_cache(maxsize=2)
def load_activations(path: str | Path) -> tuple[Activation, ...]:
    """Reads captured activations.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not such a file; the message names the entry and what is wrong with it.
    """
    entries = torch.load(path, weights_only=True)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: expected a list of captured calls that isn't empty")
    return tuple(_read(entry, f"{path}, entry {index}") for index, entry in enumerate(entries))


def _read(entry: object, where: str) -> Activation:
    if not isinstance(entry, dict) or set(entry) != {"layer", "site", "values"}:
        raise ValueError(f"{where}: expected a dict of layer, site and values")
    values = entry["values"]
    if entry["site"] not in SITES:
        raise ValueError(f"{where}: site is {entry['site']!r}, expected one of {', '.join(SITES)}")
    if not isinstance(values, Tensor) or values.dim() != len(AXES) or not values.is_floating_point():
        raise ValueError(f"{where}: values must be a floating-point tensor [{', '.join(AXES)}]")
    return Activation(layer=int(entry["layer"]), site=entry["site"], values=values)
