"""One input to a collective, named by a line of text that anyone can run again."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from suites.numerics.cases.data import generate

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

LAYOUTS = ("contiguous", "transposed", "strided", "offset")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Ranks, shape, dtype, kind of data and seed: enough to build every rank's input."""

    ranks: int
    shape: tuple[int, ...]
    dtype: str = "bf16"
    data: str = "gaussian"
    seed: int = 0
    layout: str = "contiguous"

    def __str__(self) -> str:
        return (
            f"ranks={self.ranks} shape={'x'.join(map(str, self.shape))} dtype={self.dtype} "
            f"data={self.data} seed={self.seed} layout={self.layout}"
        )

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Reads what ``str(case)`` wrote; left-out fields take their defaults.

        Raises:
            ValueError: Not such a line.
        """
        words = dict(word.partition("=")[::2] for word in text.split())
        known = {field.name for field in fields(cls)}
        if not {"ranks", "shape"} <= words.keys() <= known:
            raise ValueError(f"a case is 'ranks=2 shape=7x64' and optionally {sorted(known)}, not {text!r}")
        shape = tuple(int(size) for size in words.pop("shape").split("x"))
        numbers = {name: int(words.pop(name)) for name in ("ranks", "seed") if name in words}
        return cls(shape=shape, **numbers, **words)  # type: ignore[arg-type]  # the other fields are text

    def inputs(self) -> Tensor:
        """Every rank's values, ``[ranks, *shape]``, contiguous."""
        return _inputs(self)

    def message(self, rank: int, device: str) -> "Message":
        """One rank's values, to be sent to it."""
        return Message(self.inputs()[rank].clone(), self.layout, device)


MEANINGLESS = {("positive", "bf16"), ("spikes:10000", "fp16")}
"""Data that a dtype can't carry: bf16's own grid is about as coarse as INT8's, so that the errors of positive
values lean with the data, whoever rounds them; and eight spikes of 10,000 overflow fp16."""


def in_dtypes(cases: Iterable[Case], dtypes: Sequence[str]) -> Iterator[Case]:
    """The cases for an implementation that takes ``dtypes`` alone.

    A case of another dtype is tried in one of them in which its data still mean something, unless it then is
    one there already is. Where there is no such dtype it is left out.
    """
    seen = set()
    for case in cases:
        possible = [name for name in DTYPES if name in dtypes and (case.data, name) not in MEANINGLESS]
        if case.dtype not in dtypes and not possible:
            continue
        taken = case if case.dtype in dtypes else replace(case, dtype=possible[0])
        if taken not in seen:
            seen.add(taken)
            yield taken


@dataclass(frozen=True)
class Message:
    """One rank's input on its way to that rank."""

    values: Tensor
    layout: str
    device: str

    def tensor(self) -> Tensor:
        """The input on its device, laid out in memory as the case asks."""
        return lay_out(self.values.to(self.device), self.layout)


@functools.lru_cache(maxsize=16)
def _inputs(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(case.seed)
    return generate(case.data, (case.ranks, *case.shape), DTYPES[case.dtype], generator)


def lay_out(x: Tensor, layout: str) -> Tensor:
    """The same values with other strides, always in memory of its own.

    Raises:
        ValueError: No such layout.
    """
    if layout == "contiguous":
        return x.clone()
    if layout == "transposed":
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "strided":
        return torch.stack((x, x + 1), dim=-1)[..., 0]
    if layout == "offset":
        return torch.cat((x.new_ones(3), x.flatten()))[3:].view(x.shape)
    raise ValueError(f"no layout is named {layout!r}; there are: {', '.join(LAYOUTS)}")
