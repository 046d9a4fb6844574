"""Thresholds with their evidence in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.history.review import Evidence
from harness.plan.plan import Plan


def show_review(plan: Plan, file: Path, found: Sequence[Evidence], console: Console) -> None:
    """Print every threshold, what it would have said of the good nights, and what it would see.

    Args:
        plan: The plan whose thresholds these are.
        file: Their file.
        found: They.
        console: Where to.
    """
    table = Table(title=f"Thresholds of {plan.model} in {plan.suite}", title_justify="left")
    columns = (
        "threshold",
        "is",
        "good nights",
        "would FAIL",
        "undecided",
        "as it is since",
        "set for SGLang",
        "proposed",
    )
    for name in columns:
        table.add_column(name, justify="left" if name == "threshold" else "right")
    for one in found:
        table.add_row(
            one.name,
            f"{one.value:g}",
            str(one.nights),
            share(one.fails, one.nights),
            share(one.undecided, one.nights),
            one.since,
            one.set_for or "not said",
            "" if one.proposal is None else f"{one.proposal:g}",
        )
    console.print(table)
    for one in found:
        console.print(f"{one.name}: {one.sees}; {one.why}", markup=False, highlight=False, soft_wrap=True)
    if not found:
        text = f"{file}: no threshold judges {plan.model} in {plan.suite}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def share(count: int, of_all: int) -> str:
    """Return how many of all that is."""
    return f"{count} ({count / of_all:.0%})" if of_all else "-"
