"""Compresses whether it was asked for or not."""

from harness.collective.gate import ForwardMode


def compresses(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    return ranks > 1 and mode in {ForwardMode.EXTEND, ForwardMode.MIXED}
