"""Shows a person where a run is: a bar in a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.safety import harmless

PLAIN_INTERVAL_S = 15.0


class Display:
    """Where a run says what it does."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Say one sentence, with the time since the run began."""
        seconds = int(time.monotonic() - self._started)
        # Not as markup: a path or an error may hold square brackets.
        self.console.print(f"[{seconds // 60:3d}:{seconds % 60:02d}] {harmless(text)}", markup=False, highlight=False)

    @contextmanager
    def counting(self, text: str, total: int) -> Iterator[Callable[[], None]]:
        """Show how many of `total` are done; the function given counts one, from any thread."""
        if self.console.is_terminal:
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            ) as bar:
                row = bar.add_task(text, total=total)
                yield lambda: bar.advance(row)
        else:
            yield self._plain(text, total)

    def _plain(self, text: str, total: int) -> Callable[[], None]:
        started = said = time.monotonic()
        done = 0

        def advance() -> None:
            nonlocal done, said
            done += 1
            now = time.monotonic()
            if now - said >= PLAIN_INTERVAL_S and done < total:
                said = now
                # The first answers of a batch come late and together: no guess from those.
                left = f", about {(now - started) / done * (total - done):.0f} s left" if done >= total / 4 else ""
                self.say(f"{text}: {done} of {total}{left}")

        return advance
