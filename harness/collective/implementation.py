"""Somebody else's all-reduce, by name: ``package.module:function`` or ``/folder/file.py:function``."""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.collective.coordinator import Compressed


def load_implementation(name: str) -> Compressed:
    """Imports ``package.module:function``, called as ``f(x, group)``; see ``load_function``."""
    return load_function(name)


@functools.cache
def load_function(name: str) -> Callable[..., Any]:
    """Imports ``package.module:function``, or a file's: ``/folder/file.py:function``.

    Raises:
        ValueError: The name has another form.
        TypeError: It names no function.
        ImportError: The module can't be imported.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute:
        raise ValueError(f"an implementation is named 'package.module:function' or 'file.py:function', not {name!r}")
    found = _from_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    function = getattr(found, attribute, None)
    if not callable(function):
        raise TypeError(f"{module} has no function {attribute!r}")
    return function  # type: ignore[no-any-return]  # what it is called with and returns, its caller will see


def _from_file(file: Path) -> ModuleType:
    """Imports one file alone: its folder isn't put on the path, where its neighbours could hide other modules."""
    spec = importlib.util.spec_from_file_location(f"implementation_under_test_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ImportError(f"there is no file {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
