"""A calibration's result: calibration.json, calibration.md, and the same on screen."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from harness.judge.calibration import CalibrationReport, build_calibration
from harness.records.run import write_record, write_whole
from harness.records.run_folder import RunFolder
from harness.report.markdown import filled, share

TEMPLATE = Path(__file__).with_name("calibration.md.jinja")


def write_calibration(folder: RunFolder) -> CalibrationReport:
    """Build a calibration run's result from its files and write it beside them.

    Raises:
        OSError: It cannot be written.
    """
    found = build_calibration(folder)
    write_record(folder.calibration, found)
    text = filled(TEMPLATE, {"found": found}, (share, alarms, cents))
    write_whole(folder.calibration_markdown, text)
    return found


def alarms(found: Mapping[str, float]) -> str:
    """Return in words how often harmless compression falls below a floor, by the share of questions it turns."""
    chances = "; ".join(f"{chance:.1%} where {float(turned):.0%}" for turned, chance in found.items())
    return f"harmless compression in {chances} of the questions turn" if chances else "-"


def cents(value: float | None) -> str:
    """Return a share in percentage points, or a dash for none."""
    return "-" if value is None else f"{value * 100:.1f}"


def show_calibration(found: CalibrationReport, console: Console, folder: RunFolder) -> None:
    """Print what was found, what is proposed, and the change of thresholds.yaml."""
    table = Table(title=f"Baselines of {found.model}", title_justify="left")
    for name in ("task", "n", "accuracy of each start", "spread", "turn by themselves", "floor", "today's floor"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for name, task in found.tasks.items():
        table.add_row(
            name,
            str(task.n),
            " ".join(share(accuracy) for accuracy in task.accuracies),
            share(task.spread),
            share(task.noise),
            share(task.floor),
            share(task.current_floor),
        )
    console.print(table)
    for name, task in found.tasks.items():
        for reason in task.reasons:
            console.print(f"{name}: {reason}", markup=False, highlight=False)
        if task.current_floor is not None:
            text = f"{name}: today's floor {task.current_floor:g} would be missed by {alarms(task.current_alarms)}"
            console.print(text, markup=False, highlight=False)
    for error in found.errors:
        console.print(f"ERROR {error}", markup=False, highlight=False, style="bold red")
    if found.diff:
        console.print("\nThe proposal as a change of thresholds.yaml; read it, then apply it with `git apply`:\n")
        if console.is_terminal:
            console.print(Syntax(found.diff, "diff"))
        else:
            console.print(found.diff, markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {folder.calibration_markdown}", markup=False, highlight=False, soft_wrap=True)
