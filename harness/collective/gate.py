"""Which forward passes are compressed."""

from enum import Enum, auto


class ForwardMode(Enum):
    """What a batch does: the distinction of SGLang's ``ForwardMode`` that matters here."""

    EXTEND = auto()
    """Prefill, also of a prompt whose beginning is cached."""
    MIXED = auto()
    """Prefill and decode in one batch."""
    DECODE = auto()
    """One new token per sequence."""
    IDLE = auto()
    """No token: a rank that takes part so that the others' collectives complete."""


def compresses(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Whether the layers of this pass compress their all-reduce (the gate of SGLang's PR 20520).

    Prefill messages are large and cost time; decode messages are small, latency-bound, and feed every later
    token. A layer called without a mode (outside a model's forward pass) is not compressed.

    Args:
        mode: The batch's mode, or None where the layer isn't told.
        enabled: Whether compression was asked for at start-up.
        ranks: Tensor-parallel size.
    """
    return enabled and ranks > 1 and mode in {ForwardMode.EXTEND, ForwardMode.MIXED}
