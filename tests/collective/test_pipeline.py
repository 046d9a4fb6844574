"""The order in which pieces are worked on."""

import pytest

from harness.collective.algorithms.pipeline import DEPTH, Piece, run


class Log:
    """What happened, and exchanges that write to it."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def piece(self, number: int, exchanges: int) -> Piece:
        for step in range(exchanges):
            self.events.append(f"{number} sends {step}")
            yield Exchange(self, f"{number} got {step}")
        self.events.append(f"{number} ends")


class Exchange:
    def __init__(self, log: Log, text: str) -> None:
        self._log, self._text = log, text

    def wait(self) -> None:
        self._log.events.append(self._text)


def test_a_piece_is_encoded_while_the_one_before_it_travels() -> None:
    log = Log()
    run(log.piece(number, 1) for number in range(3))
    assert log.events == [
        *("0 sends 0", "1 sends 0", "0 got 0", "0 ends"),
        *("2 sends 0", "1 got 0", "1 ends", "2 got 0", "2 ends"),
    ]


@pytest.mark.parametrize("pieces", range(6))
@pytest.mark.parametrize("exchanges", [1, 2, 3])
def test_each_exchange_ends_before_its_piece_goes_on(pieces: int, exchanges: int) -> None:
    log = Log()
    run(log.piece(number, exchanges) for number in range(pieces))
    for number in range(pieces):
        own = [event for event in log.events if event.startswith(f"{number} ")]
        steps = [text for step in range(exchanges) for text in (f"{number} sends {step}", f"{number} got {step}")]
        assert own == [*steps, f"{number} ends"]


@pytest.mark.parametrize("exchanges", [1, 2, 3])
def test_no_more_pieces_than_the_depth_are_under_way(exchanges: int) -> None:
    log = Log()
    run(log.piece(number, exchanges) for number in range(7))
    for number in range(DEPTH, 7):
        assert log.events.index(f"{number - DEPTH} ends") < log.events.index(f"{number} sends 0")
