"""Stands in for `sgl_kernel`, which has no CPU wheel; put on PYTHONPATH for the CPU server alone.

SGLang imports names from it at module level but takes the native torch path on a CPU without AMX. Every
attribute is a function that raises when called, so a path that needs a real kernel says so by name.
"""

from collections.abc import Callable
from typing import NoReturn


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return a function that raises `NotImplementedError` with the kernel's name."""
    if name.startswith("__"):
        raise AttributeError(name)

    def missing_kernel(*_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} has no CPU build, and this code path called it")

    return missing_kernel
