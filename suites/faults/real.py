"""Faults that need real servers: SGLang on the CPU, whose ranks, detokenizer and guard are killed."""

from collections.abc import Iterator

from suites.faults.kinds import Kind


def kinds() -> Iterator[Kind]:
    """Yield them."""
    yield from ()
