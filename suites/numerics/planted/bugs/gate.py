"""Bugs in which forward passes are compressed."""

from harness.collective.gate import ForwardMode


def gate_decode_compressed(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Compresses decode as well."""
    return enabled and ranks > 1 and mode not in {None, ForwardMode.IDLE}


def gate_idle_compressed(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Compresses idle passes, whose peers do not."""
    return enabled and ranks > 1 and mode not in {None, ForwardMode.DECODE}


def gate_without_mode(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Compresses layers that are not told the mode."""
    return enabled and ranks > 1 and mode not in {ForwardMode.DECODE, ForwardMode.IDLE}


def gate_flag_ignored(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Compresses whether it was asked for or not."""
    return ranks > 1 and mode in {ForwardMode.EXTEND, ForwardMode.MIXED}


def gate_single_rank(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Compresses what a single rank sends to itself."""
    return enabled and mode in {ForwardMode.EXTEND, ForwardMode.MIXED}


def gate_mixed_plain(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Leaves out batches that mix prefill and decode."""
    return enabled and ranks > 1 and mode is ForwardMode.EXTEND


def gate_never(mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
    """Never compresses."""
    return False
