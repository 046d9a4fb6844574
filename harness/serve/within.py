"""A deadline for a whole call: timeouts of a socket count silence, and a byte now and then is none."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def started(call: Callable[[], T]) -> Future[T]:
    """Return what a call will return; it runs in a thread that the process does not wait for at its end."""
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            outcome.set_exception(error)

    Thread(target=work, daemon=True).start()
    return outcome


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns.

    Args:
        seconds: How long it may take. One that takes longer is left behind in its thread: a request ends with its
            server.
        call: The call.

    Raises:
        TimeoutError: It took longer.
    """
    return started(call).result(seconds)
