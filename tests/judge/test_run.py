"""What a run as a whole allows."""

import pytest

from harness.judge.engagement import NOT_PROVEN
from harness.judge.live_check import NOT_CHECKED, NOT_RIGHT
from harness.judge.run import goes_on
from harness.records.run import BROKEN, FINISHED, RUNNING, RunRecord, State


def ended(state: State, *errors: str) -> RunRecord:
    return RunRecord(started="2026-01-02T03:04:05+00:00", seconds=1, errors=list(errors), versions={}, state=state)


def test_what_was_cut_off_or_broken_goes_on() -> None:
    assert goes_on(ended(RUNNING))
    assert goes_on(ended(BROKEN, "compressed: the server ended with exit code 7"))
    assert not goes_on(ended(FINISHED))


@pytest.mark.parametrize("why", [NOT_PROVEN, NOT_CHECKED, NOT_RIGHT])
def test_what_would_be_found_again_does_not(why: str) -> None:
    assert not goes_on(ended(BROKEN, f"compressed: {why}: layer 3"))
