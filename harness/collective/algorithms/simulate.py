"""Any number of ranks in one process, for studies."""

import torch
from torch import Tensor

from harness.collective import spared_rows
from harness.collective.backends.base import Backend
from harness.collective.backends.choice import choose_backend
from harness.collective.candidate import find_candidate
from harness.collective.codec import Codec
from harness.collective.mechanisms.mechanism import Mechanism
from harness.collective.messages import MessageFormat


def simulate_all_reduce(
    inputs: Tensor,
    *,
    codec: str | Codec = "int8_token",
    algorithm: str | None = None,
    backend: str | None = None,
    rank: int = 0,
) -> Tensor:
    """What ``quant_all_reduce`` returns on every rank, bit for bit, without a process group.

    Rows are encoded independently, so two-shot's stripes need not be cut.

    Besides codecs this takes what others run (``mechanism_names()``) and a user's own ``module:function``, a
    function of all ranks' messages ``[N, ..., H]``; see ``harness.collective.mechanisms``.

    Args:
        inputs: ``[N, ..., H]``: each rank's tensor.
        codec: As for ``quant_all_reduce``, or a mechanism's name, or ``module:function``.
        algorithm: As for ``quant_all_reduce``; None is ``one_shot`` for a codec, and what a mechanism needs.
        backend: As for ``quant_all_reduce``; mechanisms are torch operations, and make no use of it.
        rank: Whose result is returned, where a mechanism's ranks end with different tensors.

    Returns:
        ``[..., H]``, of the inputs' dtype.

    Raises:
        UnknownCodecError: Nothing has this name.
        ValueError: No such algorithm, or one for a mechanism, which does not work over so many ranks; no rank
            dimension.
        MissingBackendError: No such backend, or none for this device.
    """
    if inputs.dim() < 2:  # noqa: PLR2004 - a rank dimension and a hidden one
        raise ValueError(f"simulate_all_reduce takes [N, ..., H], not a tensor of shape {tuple(inputs.shape)}")
    chosen, algorithm = find_candidate(codec, algorithm)
    worker = choose_backend(inputs, backend)
    if inputs.shape[0] == 1 or inputs.numel() == 0:
        return inputs[0].clone() if len(inputs) else inputs.new_zeros(inputs.shape[1:])
    if isinstance(chosen, Mechanism):
        return chosen.simulate(inputs)[rank].clone()
    messages = list(inputs.reshape(len(inputs), -1, inputs.shape[-1]))
    total = torch.empty(messages[0].shape, dtype=inputs.dtype, device=inputs.device)
    if not chosen.spared_rows:
        _reduce(messages, total, algorithm, chosen, worker)
        return total.view(inputs.shape[1:])
    cut = [spared_rows.split(chosen, x, worker.row_powers(x)) for x in messages]
    unrounded = torch.empty(total.shape, dtype=torch.float32, device=total.device)
    _reduce([rest for rest, _, _ in cut], unrounded, algorithm, chosen, worker)
    for _, numbers, spared in cut:
        spared_rows.add(unrounded, numbers, spared)
    return total.copy_(unrounded).view(inputs.shape[1:])


def _reduce(inputs: list[Tensor], total: Tensor, algorithm: str, codec: Codec, backend: Backend) -> None:
    """Sums the ranks' ``[T, H]`` into ``total``."""
    dtype, device, width = inputs[0].dtype, total.device, total.shape[1]
    message = MessageFormat(codec, len(total), width, dtype)
    messages = message.empty(len(inputs), device)
    for x, target in zip(inputs, messages, strict=True):
        with message.writing(target) as parts:
            backend.encode(codec, x, parts)
    if algorithm == "two_shot":
        received, messages = messages, message.empty(1, device)
        with message.writing(messages[0]) as parts:
            backend.decode_sum_encode(codec, message.parts(received), width, dtype, parts)
    backend.decode_sum(codec, message.parts(messages), total)
