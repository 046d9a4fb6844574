"""How long a client waits for its server, whatever it sends at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class Waiting:
    """Adds up the time in which at least one request is under way; requests may come from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way = 0
        self._began = self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """That time, up to now."""
        with self._lock:
            return self._seconds + (time.monotonic() - self._began if self._under_way else 0.0)

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Say that a request is under way as long as the body runs, or until the function given is called."""
        over = False
        with self._lock:
            if not self._under_way:
                self._began = time.monotonic()
            self._under_way += 1

        def end() -> None:
            nonlocal over
            with self._lock:
                if over:
                    return
                over = True
                self._under_way -= 1
                if not self._under_way:
                    self._seconds += time.monotonic() - self._began

        try:
            yield end
        finally:
            end()
