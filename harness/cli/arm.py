"""`arm`: one arm alone, for whoever shares out arms over hosts."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import ERROR, app, console
from harness.plan.plan import Plan
from harness.records.arm_end import DONE
from harness.records.run import read_record
from harness.records.run_folder import RunFolder


@app.command(hidden=True)
def arm(
    folder: Annotated[Path, typer.Argument(help="A folder with the run's plan.json, made for this arm.")],
    name: Annotated[str, typer.Option("--arm", help="The arm's name in the plan.")],
    before: Annotated[float, typer.Option(help="Seconds of the run so far.")] = 0.0,
) -> None:
    """Run one arm of a plan in the plan's folder; how it ended is in ended.json there. Exit code 0 or 3."""
    from harness.run.display import Display  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.run.one_arm import run_arm  # noqa: PLC0415

    plan = read_record(RunFolder(folder).plan, Plan)
    end = run_arm(plan, name, Display(console()), before=before)
    if end.error:
        Display(console()).say(end.error)
    raise SystemExit(0 if end.outcome == DONE else ERROR)
