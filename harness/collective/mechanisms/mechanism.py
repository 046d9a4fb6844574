"""What a mechanism is: all ranks' messages in, each rank's result out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from harness.collective.implementation import load_function


class Mechanism(ABC):
    """Somebody else's compressed all-reduce, as a function: for studies in one process, not for process groups."""

    name: str

    ranks_differ: bool = False
    """Whether ranks may end with different tensors."""

    @abstractmethod
    def simulate(self, inputs: Tensor) -> Tensor:
        """Each rank's result.

        Args:
            inputs: ``[N, ..., H]``, each rank's message: bf16, fp16 or fp32; N at least 2.

        Returns:
            ``[N, ..., H]`` of the inputs' dtype, each rank's result.

        Raises:
            ValueError: It does not work over so many ranks.
        """

    @abstractmethod
    def wire_bytes(self, shape: Sequence[int], ranks: int, dtype: torch.dtype) -> int:
        """Bytes that one rank sends for a tensor of ``shape``; the ranks' mean, rounded up, where they differ.

        Raises:
            ValueError: It does not work over so many ranks.
        """


class Elementwise(Mechanism):
    """One that sees a message as a row of elements, in which tokens and columns don't show.

    Messages of dtypes that the original refuses (fp32 in particular, which a study on a CPU has) are taken as
    well: read as they are, and what is returned is rounded to them.
    """

    rank_counts: tuple[int, ...]
    """Over how many ranks the original works."""

    def simulate(self, inputs: Tensor) -> Tensor:
        self._check(len(inputs))
        messages = inputs.reshape(len(inputs), -1).to(torch.float32)
        return self.reduce(messages).to(inputs.dtype).view(inputs.shape)

    def wire_bytes(self, shape: Sequence[int], ranks: int, dtype: torch.dtype) -> int:
        self._check(ranks)
        return self.sent(math.prod(shape), ranks)

    @abstractmethod
    def reduce(self, messages: Tensor) -> Tensor:
        """Each rank's result, fp32 ``[N, elements]``, from fp32 ``[N, elements]``."""

    @abstractmethod
    def sent(self, elements: int, ranks: int) -> int:
        """Bytes that one rank sends for so many elements, whatever the message's dtype."""

    def _check(self, ranks: int) -> None:
        if ranks not in self.rank_counts:
            known = ", ".join(map(str, self.rank_counts))
            raise ValueError(f"{self.name} works over {known} ranks, not {ranks}")


def groups_of(x: Tensor, size: int) -> Tensor:
    """``[..., elements]`` as ``[..., groups, size]``, zeros at the end."""
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % size))
    return padded.reshape(*x.shape[:-1], -1, size)


class Function(Protocol):
    """``module:function``; may have an attribute ``wire_bytes``: ``f(shape, ranks, dtype) -> int``."""

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """From every rank's ``[N, ..., H]`` to the result ``[..., H]``, or each rank's ``[N, ..., H]``."""


class UsersOwn(Mechanism):
    """A user's ``module:function``.

    Raises:
        ValueError: The name has another form.
        TypeError: It names no function.
        ImportError: The module can't be imported.
    """

    ranks_differ = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._function = cast("Function", load_function(name))

    def simulate(self, inputs: Tensor) -> Tensor:
        """What the function returns.

        Raises:
            TypeError: That is no tensor of the right shape and dtype.
        """
        out = self._function(inputs.clone())
        shapes = (inputs.shape, inputs.shape[1:])
        if not isinstance(out, Tensor) or out.shape not in shapes or out.dtype != inputs.dtype:
            got = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            expected = " or ".join(str(tuple(shape)) for shape in shapes)
            raise TypeError(f"{self.name} returned {got}; expected {inputs.dtype} {expected}")
        return out.expand(inputs.shape)

    def wire_bytes(self, shape: Sequence[int], ranks: int, dtype: torch.dtype) -> int:
        """What the function's attribute says.

        Raises:
            TypeError: It has none.
        """
        stated = getattr(self._function, "wire_bytes", None)
        if not callable(stated):
            raise TypeError(f"{self.name} has no wire_bytes = f(shape, ranks, dtype) -> int to say what it sends")
        return int(stated(shape, ranks, dtype))
