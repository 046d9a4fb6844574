"""Leaves out batches that mix prefill and decode."""

from harness.collective.gate import ForwardMode


def compresses(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    return enabled and ranks > 1 and mode is ForwardMode.EXTEND
