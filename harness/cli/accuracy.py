"""`accuracy` and `calibrate`: a suite's arms run, and what they show is judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import DEFAULT_SUITE, ERROR, LAST_WORDS, app, console
from harness.cli.options import (
    Data,
    DataFolder,
    Limit,
    ModelPath,
    PluginPath,
    Port,
    Reports,
    Resume,
    ServerPython,
    SuiteName,
    ThresholdsFile,
)
from harness.cli.ready import checked_plan
from harness.cli.report import show_found
from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.prepare.models import no_hub
from harness.records.run_folder import RunFolder


@app.command()
def accuracy(  # noqa: PLR0917 - typer makes an option of each
    context: typer.Context,
    suite: SuiteName = DEFAULT_SUITE,
    thresholds: ThresholdsFile = None,
    server_python: ServerPython = None,
    plugin_path: PluginPath = None,
    model_path: ModelPath = None,
    data: Data = None,
    data_folder: DataFolder = None,
    limit: Limit = None,
    port: Port = None,
    reports: Reports = None,
    *,
    live_check: Annotated[
        bool, typer.Option(" /--no-live-check", show_default=False, help="Sum none of the compressed calls exactly.")
    ] = True,
    codec: Annotated[
        str | None, typer.Option(help="A codec, or your own all-reduce, ./file.py:function, in place of the suite's.")
    ] = None,
    claims: Annotated[
        str | None, typer.Option(help="The codec whose bound and bytes your own all-reduce claims: int8_group64.")
    ] = None,
    strict: Annotated[
        bool | None, typer.Option(help="A WARNING makes the run a FAIL; default: as the suite says.")
    ] = None,
    noise_floor: Annotated[
        bool | None, typer.Option(help="Run the baseline once more, to see what changes by itself.")
    ] = None,
    early_stop: Annotated[
        bool | None, typer.Option(help="End a task as soon as its verdict is certain; default: as the suite says.")
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="Have both servers up at once, each on devices of its own.")
    ] = False,
    policy: Annotated[
        Path | None, typer.Option(help="A file that says how each site is compressed, in place of the suite's codec.")
    ] = None,
    reuse_baseline: Annotated[
        Path | None, typer.Option(help="A run's folder: its baseline is taken, if everything about it is equal.")
    ] = None,
    resume: Resume = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
) -> None:
    """Run a suite: two servers, all tasks on both, a verdict, a report."""
    chosen = locals()
    del chosen["resume"], chosen["context"]
    if resume is not None:
        raise SystemExit(run_plan(planned_before(resume, context, calibrates=False), resume=True))
    plan = checked_plan(**chosen)
    if dry_run:
        with no_hub():
            from harness.run.dry_run import show_plan  # noqa: PLC0415 - lm-eval takes seconds to import

        raise SystemExit(ERROR if show_plan(plan, console()) else 0)
    raise SystemExit(run_plan(plan))


@app.command()
def calibrate(  # noqa: PLR0917 - see above
    context: typer.Context,
    suite: SuiteName = DEFAULT_SUITE,
    thresholds: ThresholdsFile = None,
    server_python: ServerPython = None,
    plugin_path: PluginPath = None,
    model_path: ModelPath = None,
    data: Data = None,
    data_folder: DataFolder = None,
    limit: Limit = None,
    port: Port = None,
    reports: Reports = None,
    *,
    runs: Annotated[int, typer.Option(min=1, help="How often the baseline runs, each time started afresh.")] = 3,
    allow_wider: Annotated[bool, typer.Option("--allow-wider", help="Propose a floor below today's too.")] = False,
    resume: Resume = None,
) -> None:
    """Run a suite's baseline alone and say what its thresholds take and miss; propose floors, as a ready change."""
    chosen = locals()
    # Taken out first: an argument after `**chosen` is evaluated when that is unpacked already.
    baselines = chosen.pop("runs")
    del chosen["resume"], chosen["context"]
    plan = (
        planned_before(resume, context, calibrates=True)
        if resume is not None
        else checked_plan(**chosen, early_stop=False, baselines=baselines)
    )
    from harness.run.display import Display  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.run.pipeline import calibrate as run_calibration  # noqa: PLC0415

    with telling_how_to_resume(plan):
        found = run_calibration(plan, Display(console()), resume=resume is not None)
        code = show_found(found, RunFolder(Path(plan.folder)))
    raise SystemExit(code)


def run_plan(plan: Plan, *, resume: bool = False) -> int:
    """Run a plan, show its report and return its exit code."""
    from harness.report.step_summary import add_step_summary  # noqa: PLC0415
    from harness.report.terminal import show  # noqa: PLC0415
    from harness.run.display import Display  # noqa: PLC0415
    from harness.run.pipeline import run  # noqa: PLC0415 - lm-eval takes seconds to import

    terminal = console()
    with telling_how_to_resume(plan):
        done = run(plan, Display(terminal), resume=resume)
        add_step_summary(done)
        show(done, terminal, RunFolder(Path(plan.folder)))
    take_in_mind(RunFolder(Path(plan.folder)))
    return done.exit_code


def take_in_mind(folder: RunFolder) -> None:
    """Take a run into the memory beside it; what keeps that from being done is told and is no matter of the run's."""
    from harness.history.store import opened  # noqa: PLC0415 - see above
    from harness.history.sync import take_in  # noqa: PLC0415

    try:
        with opened(folder.path.parent) as store:
            take_in(store, folder)
    except (HarnessError, OSError) as error:
        LAST_WORDS.append(f"the run is not in the memory yet, the next `nox -s history` takes it in: {error}")


def planned_before(folder: Path, context: typer.Context, *, calibrates: bool) -> Plan:
    """Return the plan of a broken run; nothing else may have been typed beside its folder.

    Raises:
        HarnessError: Something was, or the folder is none of this command's.
    """
    from harness.run.journal import plan_to_resume  # noqa: PLC0415 - see above

    sources = {name: context.get_parameter_source(name) for name in context.params}
    typed = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if others := [f"--{name.replace('_', '-')}" for name in typed if name != "resume"]:
        raise HarnessError(f"a run goes on as it was planned: leave {', '.join(others)} out, --resume stands alone")
    plan = plan_to_resume(folder)
    if plan.calibrates != calibrates:
        command = "calibrate" if plan.calibrates else "accuracy"
        raise HarnessError(f"{plan.folder} is a run of `{command}`: resume it with that")
    return plan


@contextmanager
def telling_how_to_resume(plan: Plan) -> Iterator[None]:
    """Have the last line on the terminal say how a run goes on that breaks within the body."""
    from harness.run.journal import how_to_resume  # noqa: PLC0415 - see above

    try:
        yield
    finally:
        if command := how_to_resume(plan):
            LAST_WORDS.append(f"to go on with what is left of the run: {command}")
