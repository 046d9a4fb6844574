"""Compresses layers that are not told the mode."""

from harness.collective.gate import ForwardMode


def compresses(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    return enabled and ranks > 1 and mode not in {ForwardMode.DECODE, ForwardMode.IDLE}
