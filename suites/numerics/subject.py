"""What is being tested: an implementation and what it claims to be."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, distributed

from harness.collective import Codec, get_codec, quant_all_reduce

Implementation = Callable[[Tensor, distributed.ProcessGroup], Tensor]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An implementation, and the codec and algorithm whose bound, noise and bytes it claims.

    ``implementation`` is ``package.module:function`` with the signature ``f(x, group) -> Tensor``, or None
    for the bundled collective.
    """

    codec: str = "int8_token"
    algorithm: str = "one_shot"
    implementation: str | None = None

    def __str__(self) -> str:
        return f"{self.implementation or 'bundled'}[{self.codec},{self.algorithm}]"

    @property
    def claimed(self) -> Codec:
        """The codec that is claimed."""
        return get_codec(self.codec)

    @property
    def options(self) -> str:
        """The suite's options that choose this subject."""
        chosen = f"--codec {self.codec} --algorithm {self.algorithm}"
        return f"--impl {self.implementation} {chosen}" if self.implementation else chosen

    def load(self) -> Implementation:
        """The function itself."""
        if self.implementation is None:
            return functools.partial(quant_all_reduce, codec=self.codec, algorithm=self.algorithm)
        return load_function(self.implementation)


@functools.cache
def load_function(name: str) -> Implementation:
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
    return function  # type: ignore[no-any-return]  # what the name promises; the checks will see
