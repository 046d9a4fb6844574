"""How far a compressed sum may lie from the exact one, and how far it will on average."""

import math

import torch
from torch import Tensor

from harness.collective import spared_rows
from harness.collective.codec import Codec


def sum_bound(inputs: Tensor, codec: Codec, algorithm: str = "one_shot") -> Tensor:
    """Bounds ``|quant_all_reduce(x) - sum|``, element by element, for one set of inputs.

    One-shot: each rank's encoding error, what adding N numbers in fp32 loses, and the result's rounding to
    its dtype: ``sum_k bound_k + N 2^-24 sum_k (|x_k| + bound_k) + u |out|``. Two-shot adds the bound of encoding the
    sum, which is itself known only to within the first two terms. Rows that a codec spares have no encoding error.
    Rotated messages are added rotated, and what that loses is spread over a block (``Codec.added_magnitude``).

    Args:
        inputs: ``[N, ..., H]``, finite, of the message's dtype.
        codec: The codec that is claimed.
        algorithm: ``one_shot`` or ``two_shot``.

    Returns:
        fp64 ``[..., H]``.

    Raises:
        ValueError: No such algorithm.
    """
    dtype, x = inputs.dtype, inputs.double()
    info = torch.finfo(dtype)
    unit = info.eps / 2
    exact = x.sum(dim=0)
    encoded = spared_rows.rest(codec, inputs).double()
    encoding = codec.error_bound(encoded, dtype).sum(dim=0)
    adding = len(x) * 2.0**-24 * codec.added_magnitude(x.abs().sum(dim=0) + encoding)
    bound = encoding + adding
    if algorithm == "two_shot":
        if codec.rounds_sum:
            bound = bound + unit * (exact.abs() + bound)
        bound = bound + codec.error_bound(encoded.sum(dim=0), dtype, bound)
        if codec.spared_rows:  # which are added to what was decoded, also in fp32
            bound = bound * (1 + len(x) * 2.0**-24)
    elif algorithm != "one_shot":
        raise ValueError(f"no algorithm is named {algorithm!r}; there are: one_shot, two_shot")
    return bound + unit * (exact.abs() + bound) + info.tiny * info.eps / 2


def noise(inputs: Tensor, codec: Codec, algorithm: str = "one_shot") -> Tensor:
    """Predicts the squared error per element of ``quant_all_reduce``, as a mean over data like this.

    Independent errors add in power: every rank's encoding, two-shot's second one, and the roundings of the
    fp32 sum and of the result, ``spacing^2 / 12`` each.

    Args:
        inputs: As for ``sum_bound``.
        codec: As for ``sum_bound``.
        algorithm: As for ``sum_bound``.

    Returns:
        fp64 ``[..., H]``.
    """
    dtype, x = inputs.dtype, inputs.double()
    exact = x.sum(dim=0)
    encoded = spared_rows.rest(codec, inputs).double()
    power = codec.noise_power(encoded, dtype).sum(dim=0)
    if algorithm == "two_shot":
        power = power + codec.noise_power(encoded.sum(dim=0), dtype)
    # The last of the sums is rounded to the result's dtype, those before it to fp32.
    partial = x.cumsum(dim=0)[1:-1]
    rounding = _rounding(partial, torch.float32).sum(dim=0) + _rounding(exact, dtype)
    # What arrives exactly leaves nothing to chance: sums of short numbers are often exact, or half-way.
    return torch.where(power == 0, _summed(inputs).sub_(exact).square_(), power + rounding)


def _summed(inputs: Tensor) -> Tensor:
    """The sum in fp32 in rank order, rounded once to the inputs' dtype; in fp64."""
    total = inputs[0].float()
    for x in inputs[1:]:
        total = total + x.float()
    return total.to(inputs.dtype).double()


def _rounding(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean squared error of rounding fp64 values to ``dtype``: ``spacing^2 / 12``."""
    spacing = torch.ldexp(torch.full_like(value, torch.finfo(dtype).eps), torch.frexp(value).exponent - 1)
    return spacing.square() / 12


def sqnr_db(exact: Tensor, error_power: Tensor) -> float:
    """Signal to quantization noise, ``10 log10(sum exact^2 / sum error_power)``, in dB.

    For a codec with steps s this is the textbook ``10 log10(12 |sum x|^2 / (H sum s^2))``. Infinite where
    there is no error.
    """
    signal, error = exact.double().square().sum().item(), error_power.sum().item()
    return math.inf if error == 0 else 10 * math.log10(signal / error)
