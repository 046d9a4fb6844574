"""Where prepared models and data are kept: HARNESS_CACHE, or `.cache` in the repository. noxfile.py fills it.

Imports the standard library only: the numerical suite uses it in another environment.
"""

import os
from pathlib import Path

NAME = ".cache"
IN_REPOSITORY = Path(__file__).resolve().parents[1] / NAME


def cache() -> Path:
    """Return the cache's folder, which need not exist yet."""
    return Path(os.environ.get("HARNESS_CACHE") or IN_REPOSITORY).absolute()


def model_place(path: str) -> str:
    """Return a model's path as a suite gives it, with a leading `.cache/` led to where the cache is."""
    first, *rest = Path(path).parts or ("",)
    return str(cache().joinpath(*rest)) if first == NAME else path
