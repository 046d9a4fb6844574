"""`report`: the report of a run, a calibration or a study, built again from its files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import ERROR, app, console
from harness.errors import HarnessError
from harness.plan.make import moment
from harness.plan.plan import Plan
from harness.records.run import read_record, write_whole
from harness.records.run_folder import RunFolder
from harness.study.folder import StudyFolder

if TYPE_CHECKING:
    from harness.judge.calibration import CalibrationReport


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, for example reports/latest.")],
    thresholds: Annotated[
        Path | None, typer.Option(help="Judge the run again by these; its own report stays, this one goes beside it.")
    ] = None,
) -> None:
    """Build the report of a run, a calibration or a study again from its own files, and end with its exit code."""
    from harness.history.sync import is_judged  # noqa: PLC0415 - scipy takes a second to import
    from harness.judge.other_thresholds import with_thresholds  # noqa: PLC0415
    from harness.report.build import build_report  # noqa: PLC0415
    from harness.report.step_summary import add_step_summary  # noqa: PLC0415
    from harness.report.terminal import show  # noqa: PLC0415
    from harness.report.write import write_report  # noqa: PLC0415

    folder = RunFolder(run.resolve())
    if thresholds is not None and not is_judged(folder):
        raise HarnessError(
            f"--thresholds {thresholds}: {folder.path} is no run of a suite: nothing else is judged by them"
        )
    if (measured := StudyFolder(folder.path)).is_study:
        from harness.study.build import build_study  # noqa: PLC0415
        from harness.study.command import exit_code, show_study  # noqa: PLC0415
        from harness.study.write import write_study  # noqa: PLC0415

        found = build_study(measured)
        write_study(found, measured, latest=False)
        show_study(found, measured, console())
        raise SystemExit(exit_code(found))
    if read_record(folder.plan, Plan).calibrates:
        from harness.report.calibration import write_calibration  # noqa: PLC0415

        raise SystemExit(show_found(write_calibration(folder), folder))
    plan = None
    if thresholds is not None:
        plan = with_thresholds(folder, thresholds)
        folder = folder.judged_again(moment(None))
        folder.report.parent.mkdir(parents=True)
        write_whole(folder.report.with_name("thresholds.yaml"), thresholds.read_text(encoding="utf-8"))
    built = build_report(folder, plan)
    write_report(built, folder)
    add_step_summary(built)
    show(built, console(), folder)
    raise SystemExit(built.exit_code)


def show_found(found: "CalibrationReport", folder: RunFolder) -> int:
    """Show a calibration and return its exit code."""
    from harness.report.calibration import show_calibration  # noqa: PLC0415 - see above

    show_calibration(found, console(), folder)
    return ERROR if found.errors else 0
