"""Compresses what a single rank sends to itself."""

from harness.collective.gate import ForwardMode


def compresses(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    return enabled and mode in {ForwardMode.EXTEND, ForwardMode.MIXED}
