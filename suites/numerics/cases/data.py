"""The kinds of data a collective is tried on. Ranks always differ: equal data hides half of all bugs."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from harness.collective.activations import load_activations

Shape = tuple[int, ...]
Maker = Callable[[Shape, torch.dtype, torch.Generator, str], Tensor]

SPIKE_CHANNELS = (3, 17, 40)

FP8_LARGEST = 448

ENDINGS = ("/reversed", "/negated")


def generate(name: str, shape: Shape, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Makes ``[ranks, *shape]`` of the kind ``name``.

    A name may carry an argument, ``spikes:1000``, and end in ``/reversed`` (the ranks swap their messages)
    or ``/negated``.

    Raises:
        ValueError: No such kind or ending.
    """
    name, _, ending = name.partition("/") if name.endswith(ENDINGS) else (name, "", "")
    kind, _, argument = name.partition(":")
    if kind not in KINDS:
        raise ValueError(f"no data is named {kind!r}; there are: {', '.join(KINDS)}")
    x = KINDS[kind](shape, dtype, generator, argument).to(dtype)
    if ending == "reversed":
        return x.flip(0)
    return -x if ending == "negated" else x


def _normal(shape: Shape, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _integers(shape: Shape, largest: int, generator: torch.Generator) -> Tensor:
    return torch.randint(-largest, largest + 1, shape, generator=generator).double()


def gaussian(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Standard normal."""
    return _normal(shape, generator)


def uneven(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Normal, with a magnitude of its own (over four decades) for each rank and token."""
    decades = torch.rand(*shape[:-1], 1, generator=generator, dtype=torch.float64) * 4 - 2
    return _normal(shape, generator) * 10**decades


def columns(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Normal, growing by a factor of 1000 from the first column to the last."""
    return _normal(shape, generator) * torch.logspace(-2, 1, shape[-1], dtype=torch.float64)


def positive(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Uniform over [0, 1): a rounding that leans to one side can't hide behind the sign."""
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def cancellation(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """The last rank takes back what the others sent, but for 5 % noise."""
    x = _normal(shape, generator)
    if shape[0] > 1:
        x[-1] = -x[:-1].sum(dim=0) + 0.05 * x[-1]
    return x


def spikes(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, argument: str) -> Tensor:
    """Normal, with a few channels about ``argument`` times as large (arXiv 2402.17762).

    Spikes differ by up to a quarter: equal ones would give every rank the same scale, and two-shot's sums
    would then always lie on a grid point or half-way between two.
    """
    x = _normal(shape, generator)
    for channel in SPIKE_CHANNELS:
        sizes = 1 + 0.25 * torch.rand(shape[:-1], generator=generator, dtype=torch.float64)
        x[..., channel] = torch.where(x[..., channel] < 0, -sizes, sizes) * float(argument)
    return x


def one_hot(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, argument: str) -> Tensor:
    """Zeros, but for rank ``argument``: its error stands alone, and its absence is seen."""
    x = torch.zeros(shape, dtype=torch.float64)
    x[int(argument)] = _normal(shape[1:], generator)
    return x


def zeros(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Normal, with every third token zero on every rank, and every third on rank 0 only."""
    x = _normal(shape, generator)
    x[..., ::3, :] = 0
    x[0, ..., 1::3, :] = 0
    return x


def amplitudes(shape: Shape, dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Normal, with tokens from the dtype's smallest normal number to nearly its largest sum."""
    info = torch.finfo(dtype)
    exponents = torch.linspace(
        torch.tensor(info.tiny).log2().item(), torch.tensor(info.max).log2().item() - 8, shape[-2]
    )
    # A quarter more, so that the powers of two aren't exact.
    return _normal(shape, generator) * 1.25 * 2.0 ** exponents.double().unsqueeze(-1)


def exact(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, argument: str) -> Tensor:
    """Integers that a grid up to ``argument`` holds, in every block of 32 columns, and so does their sum.

    Each rank has the grid's largest value in a column of its own, where the others have zero, so that every
    block's scale is exactly 1, the sum's as well.
    """
    ranks, largest = shape[0], int(argument)
    x = _integers(shape, largest // ranks, generator)
    for rank in range(ranks):
        x[..., rank::32] = 0
        x[rank, ..., rank::32] = largest if rank % 2 else -largest
    return x


def exact_rounded(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, argument: str) -> Tensor:
    """Integers up to ``argument`` on each rank, scaled by a power of two per rank and token.

    The sum is a number of up to 12 bits that bf16 has to round, once and to nearest even.
    """
    largest = int(argument)
    x = _integers(shape, largest, generator)
    if largest == FP8_LARGEST:
        x = x.to(torch.float8_e4m3fn).double()
    x[..., ::32] = largest
    powers = torch.randint(0, 3, (*shape[:-1], 1), generator=generator)
    return x * 2.0**powers


def ties(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, argument: str) -> Tensor:
    """Rank 0 alone, half-way between grid points k and k + 1, with the scale exactly 1."""
    largest = int(argument)
    x = torch.zeros(shape, dtype=torch.float64)
    x[0] = torch.randint(-largest, largest, shape[1:], generator=generator) + 0.5
    x[0, ..., ::32] = largest
    return x


def bf16_traps(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Rank 0 alone, in pairs (amax, value) for which bf16 scales and products err the most."""
    peaks, values = worst_pairs()
    x = torch.zeros(shape, dtype=torch.float64)
    pick = torch.randint(0, len(peaks), shape[1:-1], generator=generator)
    x[0] = values[pick].unsqueeze(-1)
    x[0, ..., 0] = peaks[pick]
    return x


@functools.cache
def worst_pairs(count: int = 16) -> tuple[Tensor, Tensor]:
    """Searches all bf16 amax in [128, 256) and all bf16 values below for upstream's worst errors."""
    peaks = torch.arange(128, 256, dtype=torch.float64)
    values = torch.cat((torch.arange(32, 64, 0.25), torch.arange(64, 128, 0.5), torch.arange(128, 256)))
    values = values.double()
    scale = (peaks / 127).unsqueeze(1)
    q = (values / scale).round()
    product = (q * scale.bfloat16().double()).bfloat16().double()
    error = torch.where(values < peaks.unsqueeze(1), (product - values).abs() / scale, 0.0)
    best = error.flatten().topk(count).indices
    return peaks[best // len(values)], values[best % len(values)]


def nonfinite(shape: Shape, _dtype: torch.dtype, generator: torch.Generator, _argument: str) -> Tensor:
    """Normal, but token 1 has a NaN on rank 0, 3 an infinity on the last rank, 5 a NaN and -inf on two."""
    x = _normal(shape, generator)
    rows = x.view(shape[0], -1, shape[-1])
    rows[0, 1, -1] = torch.nan
    rows[-1, 3, 0] = torch.inf
    rows[0, 5, 0], rows[-1, 5, -1] = torch.nan, -torch.inf
    return x


def activations(shape: Shape, _dtype: torch.dtype, _generator: torch.Generator, argument: str) -> Tensor:
    """Entry ``index`` of a captured file: ``activations:path:index``."""
    path, _, index = argument.rpartition(":")
    values = load_activations(path)[int(index)].values
    if values.shape != shape:
        raise ValueError(f"{path} holds {tuple(values.shape)} at {index}, the case says {shape}")
    return values


KINDS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        gaussian,
        uneven,
        columns,
        positive,
        cancellation,
        spikes,
        one_hot,
        zeros,
        amplitudes,
        exact,
        exact_rounded,
        ties,
        bf16_traps,
        nonfinite,
        activations,
    )
}
