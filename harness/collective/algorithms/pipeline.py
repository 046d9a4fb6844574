"""Local work on one piece of a message while another piece travels."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias

DEPTH = 2
"""Pieces under way at once."""


class Exchange(Protocol):
    """A collective that has been started: ``torch.distributed.Work``."""

    def wait(self) -> object:
        """Waits for its end; on an accelerator, lets the current stream wait for it."""


Piece: TypeAlias = Iterator[Exchange]
"""The work on one piece. It yields each exchange it has started, and goes on when that has ended."""


def run(pieces: Iterable[Piece]) -> None:
    """Takes turns between ``DEPTH`` pieces. The order depends on their number alone, as ranks must agree on it.

    A piece starts when the one ``DEPTH`` before it has ended, so that these two can share a buffer.
    """
    under_way: deque[tuple[Piece, Exchange]] = deque()
    for piece in pieces:
        _advance(under_way, piece)
        while len(under_way) == DEPTH:
            _advance_oldest(under_way)
    while under_way:
        _advance_oldest(under_way)


def _advance_oldest(under_way: deque[tuple[Piece, Exchange]]) -> None:
    piece, exchange = under_way.popleft()
    exchange.wait()
    _advance(under_way, piece)


def _advance(under_way: deque[tuple[Piece, Exchange]], piece: Piece) -> None:
    exchange = next(piece, None)
    if exchange is not None:
        under_way.append((piece, exchange))
