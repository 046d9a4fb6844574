"""What the benchmark of clients says of what it timed."""

import pytest

from suites.clients.__main__ import EACH, OURS, STOCK, Found, Turn, agreement, section


def turn(seconds: float, found: Found, *, requests: int = 2) -> Turn:
    return Turn(seconds=seconds, requests=requests, prefilled=300, found=found)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({0: 1.0, 1: -2.0}, {0: 1.25, 1: -2.0}, "0 of 2 answers differ, margins at most 0.2 nats"),
        ({0: 0.1, 1: -2.0}, {0: -0.1, 1: -2.0}, "1 of 2 answers differ, margins at most 0.2 nats"),
        ({0: "7", 1: "8"}, {0: "7 ", 1: "9"}, "1 of 2 texts are the same"),
    ],
)
def test_clients_are_compared_question_by_question(ours: Found, theirs: Found, said: str) -> None:
    assert agreement(ours, theirs) == said


def test_ratios_are_of_one_round_and_a_missed_bar_is_marked() -> None:
    found: Found = {0: 1.0, 1: 2.0}
    turns = {
        OURS: [turn(1.0, found, requests=1), turn(2.0, found, requests=1)],
        STOCK: [turn(3.0, found, requests=4), turn(5.0, found, requests=4)],
        EACH: [turn(1.0, found), turn(2.0, found)],
    }
    ours, stock, each = section("boolq", turns, "the same", bar=3.0).rows
    assert [cell.text for cell in ours[:5]] == [OURS, "1.33", "0.50", "150", "1"]
    assert [cell.text for cell in stock[:5]] == [STOCK, "0.50", "2.00", "150", "2.75 (2.50 to 3.00)"]
    assert {cell.style for cell in stock} == {"red"}
    assert {cell.style for cell in (*ours, *each)} == {""}
    assert {cell.style for row in section("boolq", turns, "the same", bar=2.7).rows for cell in row} == {""}
