"""What a kernel needs to know of a codec. Importable without Triton."""

from typing import NamedTuple

from harness.collective.blocks import group_count

PLAIN = "plain"
"""The kind of what is sent as it is, without scales."""


class Form(NamedTuple):
    """How a codec stores a row.

    Plain values, so that it can be passed to a torch operator.
    """

    kind: str
    """``int8``, ``fp8_e4m3``, ``int6``, ``int4`` or ``plain``."""
    largest: float = 0.0
    """The grid's largest value."""
    group: int = 0
    """Columns that share a scale; 0 for all of a row's."""
    reciprocal: bool = False
    """Whether values are multiplied by ``largest / amax``, as by the A2/A3 kernel."""
    hadamard: bool = False
    """Whether each group is transformed first."""

    def blocks_per_row(self, width: int) -> int:
        """Scales of a row."""
        return group_count(width, self.group or None)
