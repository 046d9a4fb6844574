"""When a forward pass may be compressed at all."""

from typing import Protocol

from harness.collective.gate import ForwardMode

MODES = (None, *ForwardMode)


class Gate(Protocol):
    """The signature of ``harness.collective.gate.compresses``."""

    def __call__(self, mode: ForwardMode | None, *, enabled: bool, ranks: int) -> bool:
        """Whether this pass compresses."""


def only_prefill_is_compressed(gate: Gate) -> None:
    """Prefill, mixed or not, where asked for, over two ranks and more; nothing else."""
    for mode in MODES:
        for enabled in (False, True):
            for ranks in (1, 2, 8):
                wanted = enabled and ranks > 1 and mode in {ForwardMode.EXTEND, ForwardMode.MIXED}
                if gate(mode, enabled=enabled, ranks=ranks) is not wanted:
                    raise AssertionError(
                        f"only_prefill_is_compressed: mode {mode}, enabled={enabled}, ranks={ranks}: "
                        f"the gate says {not wanted}, it must say {wanted}",
                    )
