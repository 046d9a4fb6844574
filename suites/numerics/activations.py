"""Reads real activations; ``harness.collective.activations`` describes the file and writes it."""

import functools
from pathlib import Path

import torch
from torch import Tensor

from harness.collective.activations import SITES, Activation, save_activations

__all__ = ["SITES", "Activation", "load_activations", "save_activations"]


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
    if not isinstance(values, Tensor) or values.dim() != 3 or not values.is_floating_point():
        raise ValueError(f"{where}: values must be a floating-point tensor [ranks, tokens, hidden]")
    return Activation(layer=int(entry["layer"]), site=entry["site"], values=values)
