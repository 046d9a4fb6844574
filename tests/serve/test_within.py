import time
from threading import Event

import pytest

from harness.serve.within import within


def test_what_a_call_returns_or_raises_comes_through() -> None:
    assert within(20, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(20, lambda: 1 // 0)


def test_a_call_that_takes_longer_is_left_behind() -> None:
    begun = Event()

    def call() -> None:
        begun.set()
        time.sleep(3)

    with pytest.raises(TimeoutError):
        within(0.1, call)
    assert begun.is_set()
