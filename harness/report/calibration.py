"""A calibration's result: calibration.json, calibration.md, and the same on screen."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from harness.judge.calibration import CalibrationReport, build_calibration
from harness.records.run import write_record, write_whole
from harness.records.run_folder import RunFolder
from harness.report.markdown import INTERVALS, share

TEMPLATE = "calibration.md.jinja"


def write_calibration(folder: RunFolder) -> CalibrationReport:
    """Build a calibration run's result from its files and write it beside them.

    Raises:
        OSError: It cannot be written.
    """
    found = build_calibration(folder)
    write_record(folder.calibration, found)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
    )
    environment.filters["share"] = share
    write_whole(folder.calibration_markdown, environment.get_template(TEMPLATE).render(found=found))
    return found


def show_calibration(found: CalibrationReport, console: Console, folder: RunFolder) -> None:
    """Print the proposals, what they rest on, and the change of thresholds.yaml."""
    table = Table(title=f"Baselines of {found.model}", title_justify="left")
    for name in (
        "task",
        "n",
        "accuracy",
        "90 % interval",
        "turn by themselves",
        "floor",
        "false alarms",
        "max_drop",
    ):
        table.add_column(name, justify="left" if name == "task" else "right")
    for name, task in found.tasks.items():
        table.add_row(
            name,
            str(task.n),
            " ".join(share(accuracy) for accuracy in task.accuracies),
            f"{share(task.low)} {share(task.high)}",
            share(task.noise),
            share(task.floor),
            share(task.floor_false_alarm),
            share(task.max_drop),
        )
    console.print(table)
    console.print(INTERVALS, markup=False, highlight=False)
    for name, task in found.tasks.items():
        for reason in task.reasons:
            console.print(f"{name}: {reason}", markup=False, highlight=False)
        if task.current_floor is not None:
            floor, alarm = task.current_floor, task.current_false_alarm
            text = f"{name}: today's floor {floor:g} would be missed in {alarm:.1%} of runs"
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
