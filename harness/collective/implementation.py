"""Somebody else's all-reduce, by name: ``package.module:function``."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from harness.collective.coordinator import Compressed


def load_implementation(name: str) -> Compressed:
    """Imports ``package.module:function``, called as ``f(x, group)``; see ``load_function``."""
    return load_function(name)


@functools.cache
def load_function(name: str) -> Callable[..., Any]:
    """Imports ``package.module:function``.

    Raises:
        ValueError: The name has another form.
        TypeError: It names no function.
        ImportError: The module can't be imported.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f"an implementation is named 'package.module:function', not {name!r}")
    function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise TypeError(f"{module} has no function {attribute!r}")
    return function  # type: ignore[no-any-return]  # what it is called with and returns, its caller will see
