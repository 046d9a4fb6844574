"""When an arm is given up: nothing of a run may wait for ever. Requests and starts have timeouts of their own."""

import time

from harness.config.suite import Deadlines
from harness.errors import HarnessError


class Watch:
    """Counts failures in a row and the time without an answer, and knows when the whole run must end.

    Whoever asks calls `check` before each request, then `answered` or `failed`.
    """

    def __init__(self, deadlines: Deadlines, *, before: float = 0.0) -> None:
        """Start the run's clock.

        Args:
            deadlines: When an arm, or the run, is given up.
            before: Seconds that the run took before it was resumed.
        """
        self._deadlines, self._before = deadlines, before
        self._started = time.monotonic()
        self._answered = self._started
        self._failures = 0

    def begin(self) -> None:
        """Start a task: the clock of its answers starts, its failures are counted from none."""
        self._answered = time.monotonic()
        self._failures = 0

    @property
    def elapsed(self) -> float:
        """Seconds of the run so far, the time between being broken and being resumed left out."""
        return self._before + time.monotonic() - self._started

    @property
    def failing(self) -> bool:
        """Whether the last that was asked at once failed."""
        return self._failures > 0

    def check(self) -> None:
        """Do nothing as long as there is time.

        Raises:
            HarnessError: The run, or the task, has taken too long.
        """
        now, limits = time.monotonic(), self._deadlines
        if now - self._started > limits.run_s:
            raise HarnessError(f"the run has taken more than {limits.run_s} s (deadlines.run_s of the suite)")
        if now - self._answered > limits.answer_s:
            raise HarnessError(f"no answer for more than {limits.answer_s} s (deadlines.answer_s of the suite)")

    def answered(self) -> None:
        """Note that what was asked at once was answered, some of it at least."""
        self._answered = time.monotonic()
        self._failures = 0

    def failed(self, why: str) -> None:
        """Note that all that was asked at once failed.

        Args:
            why: What is known of it.

        Raises:
            HarnessError: So many in a row that the server cannot be measured.
        """
        self._failures += 1
        if self._failures >= self._deadlines.failures:
            raise HarnessError(f"{self._failures} requests in a row failed, the last: {why}")
