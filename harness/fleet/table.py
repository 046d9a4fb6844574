"""Shows people where a fleet is: a table in a terminal that stays up to date; a log has the head's lines alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.fleet.head import Head
from harness.safety import harmless

INTERVAL_S = 1.0
# What a terminal has room for: of the rest their number is told.
MOST_ROWS = 30
IN_ORDER = ("given", "given up", "waiting", "done")


class LiveTable:
    """The table of a fleet's arms, drawn anew once a second."""

    def __init__(self, live: Live | None) -> None:
        self._live, self._drawn = live, 0.0

    def show(self, head: Head) -> None:
        """Draw where the fleet is, unless that was done a moment ago."""
        if self._live is not None and time.monotonic() - self._drawn > INTERVAL_S:
            self._drawn = time.monotonic()
            self._live.update(fleet_table(head))


@contextmanager
def live_table(console: Console) -> Iterator[LiveTable]:
    """Give a table that stands at the end of a terminal during the body."""
    if not console.is_terminal:
        yield LiveTable(None)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        live.auto_refresh = True
        yield LiveTable(live)


def fleet_table(head: Head) -> Table:
    """Return where a fleet is: its arms, those under way first, and in the title all of them and the time left."""
    said, left = head.engine.said(), head.seconds_left()
    arms = sorted(head.arms.values(), key=lambda arm: (IN_ORDER.index(arm.state), arm.order))
    verdicts = {arm.key: run.result.verdict for run in head.runs if run.result for arm in run.arms}
    count = {state: sum(arm.state == state for arm in arms) for state in IN_ORDER}
    title = ", ".join(f"{number} {state}" for state, number in count.items() if number)
    title += f"; {len(head.dispatcher.hosts())} hosts" + (
        f"; about {left / 60:.0f} min left" if left is not None else ""
    )
    table = Table(title=title, caption=head.engine.dashboard or None)
    for column in ("suite", "compression", "SGLang", "arm", "host", "attempt", "state", "verdict"):
        table.add_column(column)
    for arm in arms[:MOST_ROWS]:
        under_way = said.get(arm.key) if arm.state == "given" else None
        cells = (
            arm.run.plan.suite,
            # A baseline is every policy's.
            arm.run.compression if arm.earlier else "-",
            arm.run.release,
            arm.name,
            under_way.host if under_way else arm.host,
            str(arm.attempt.number) if arm.attempt else "",
            under_way.text if under_way else arm.state,
            verdicts.get(arm.key, "") if arm.earlier else "",
        )
        # Not as markup: a host's last line may hold square brackets.
        table.add_row(*(Text(harmless(cell)) for cell in cells))
    if len(arms) > MOST_ROWS:
        table.add_row(f"and {len(arms) - MOST_ROWS} more")
    return table
