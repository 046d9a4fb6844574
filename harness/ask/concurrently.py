"""Asks for many things, several at once, and gives the answers in the order of the questions."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")


Out = TypeVar("Out")


def concurrently(ask: Callable[[In], Out], items: Iterable[In], at_once: int) -> Iterator[Out]:
    """Yield each item's answer in order; when one raises, none of those waiting is asked.

    Args:
        ask: Called for each item, from `at_once` threads.
        items: What to ask for.
        at_once: How many at once.
    """
    pool = ThreadPoolExecutor(at_once)
    try:
        yield from pool.map(ask, items)
    finally:
        # Without waiting: requests under way end with the server, which must not wait for them.
        pool.shutdown(wait=False, cancel_futures=True)
