"""Where prepared models and data are kept: HARNESS_CACHE, or `.cache` in the repository. noxfile.py fills it."""

import os
from pathlib import Path

from harness.config import ROOT

NAME = ".cache"


def cache() -> Path:
    """Return the cache's folder, which need not exist yet."""
    return Path(os.environ.get("HARNESS_CACHE") or ROOT / NAME).absolute()


def model_place(path: str) -> str:
    """Return a model's path as a suite gives it, with a leading `.cache/` led to where the cache is."""
    first, *rest = Path(path).parts or ("",)
    return str(cache().joinpath(*rest)) if first == NAME else path
