"""`arm` and `study-part`: one arm, or one part of a study, alone, for whoever shares them out over hosts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli.app import ERROR, app, console
from harness.plan.plan import Plan
from harness.records.arm_end import DONE, ArmEnd
from harness.records.run import read_record
from harness.records.run_folder import RunFolder

if TYPE_CHECKING:
    from harness.run.display import Display


@app.command(hidden=True)
def arm(
    folder: Annotated[Path, typer.Argument(help="A folder with the run's plan.json, made for this arm.")],
    name: Annotated[str, typer.Option("--arm", help="The arm's name in the plan.")],
    before: Annotated[float, typer.Option(help="Seconds of the run so far.")] = 0.0,
) -> None:
    """Run one arm of a plan in the plan's folder; how it ended is in ended.json there. Exit code 0 or 3."""
    from harness.run.display import Display  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.run.one_arm import run_arm  # noqa: PLC0415

    plan, display = read_record(RunFolder(folder).plan, Plan), Display(console())
    _exit(run_arm(plan, name, display, before=before), display)


@app.command(hidden=True)
def study_part(
    folder: Annotated[Path, typer.Argument(help="A folder with the part's plan.json, made for it.")],
) -> None:
    """Measure a part of a study in the plan's folder; how it ended is in ended.json there. Exit code 0 or 3."""
    from harness.run.display import Display  # noqa: PLC0415 - as above
    from harness.study.part import measure_part  # noqa: PLC0415
    from harness.study.plan import StudyPlan  # noqa: PLC0415

    plan, display = read_record(RunFolder(folder).plan, StudyPlan), Display(console())
    _exit(measure_part(plan, display), display)


def _exit(end: ArmEnd, display: "Display") -> NoReturn:
    if end.error:
        display.say(end.error)
    raise SystemExit(0 if end.outcome == DONE else ERROR)
