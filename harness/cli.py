"""The command line: `accuracy` does the main job, `calibrate`, `report` and `suites` what goes with it."""

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from typer.exceptions import TyperException

from harness.config.load import load, read_suite, suite_names
from harness.config.new_suite import write_new_suite
from harness.config.suite import Source, Suite
from harness.errors import HarnessError
from harness.judge.calibration import CalibrationReport
from harness.judge.verdict import EXIT_CODES, Verdict
from harness.places import ROOT, model_place
from harness.plan.make import default_reports, make_plan, plan_on_paper, repeat_command
from harness.plan.model_folder import NO_FOLDER
from harness.plan.options import Options
from harness.plan.plan import Plan
from harness.prepare.data import NotFetchedError, data_place
from harness.prepare.data import prepare as prepare_data
from harness.prepare.models import fetch_model, is_made_here, prepare_model
from harness.prepare.needed import data_folder as folder_of
from harness.prepare.needed import needed_files
from harness.records.run import read_record
from harness.records.run_folder import RunFolder
from harness.safety import harmless
from harness.study.folder import StudyFolder

OptionsT = TypeVar("OptionsT", bound=BaseModel)
DEFAULT_SUITE = "smollm2-cpu"
ERROR = EXIT_CODES[Verdict.ERROR]
INTERRUPTED = 130
# A CI log has no width; tables cut at 80 columns there would lose their numbers.
PLAIN_WIDTH = 160
UNKNOWN_PLACES = (
    "the server's interpreter and the plugin's folder are not known: start through `nox -s accuracy`, or set "
    "HARNESS_SERVER_PYTHON and HARNESS_PLUGIN_PATH"
)
STAND_IN_QUESTIONS = 64
# Stands where a suite that cannot be read would say its device.
BROKEN = "broken"
# What comes after everything else on the terminal.
LAST_WORDS: list[str] = []

app = typer.Typer(
    help="Proves whether compressed tensor-parallel communication keeps a model's accuracy.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


# The options that `accuracy` and `calibrate` share.
SuiteName = Annotated[str, typer.Option(help="A suite of suites/accuracy, or a file's path: /folder/own.yaml.")]
ThresholdsFile = Annotated[
    Path | None,
    typer.Option(
        "--thresholds",
        help="A file of thresholds; default: thresholds.yaml beside the suite's file, or the project's.",
    ),
]
ServerPython = Annotated[
    Path | None, typer.Option(envvar="HARNESS_SERVER_PYTHON", help="The interpreter that has SGLang.")
]
PluginPath = Annotated[Path | None, typer.Option(envvar="HARNESS_PLUGIN_PATH", hidden=True, help="Made by nox.")]
ModelPath = Annotated[str | None, typer.Option(help="Another place of the suite's model.")]
Data = Annotated[Source | None, typer.Option(help="Where the data comes from; default: as the suite says.")]
DataFolder = Annotated[Path | None, typer.Option(help="A folder of your own data; means `--data folder`.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many questions a task and texts a source.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="A fixed port; default: a free one.")]
Reports = Annotated[
    Path | None,
    typer.Option(help="Where the run's folder goes; default: reports/ here, or beside a suite's file elsewhere."),
]
Resume = Annotated[
    Path | None,
    typer.Option(help="The folder of a broken run, which goes on as it was planned."),
]


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
        raise SystemExit(_run(_plan_to_resume(resume, context, calibrates=False), resume=True))
    plan = _plan(**chosen)
    if dry_run:
        with _no_hub():
            from harness.run.dry_run import show_plan  # noqa: PLC0415 - lm-eval takes seconds to import

        raise SystemExit(ERROR if show_plan(plan, _console()) else 0)
    raise SystemExit(_run(plan))


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
        _plan_to_resume(resume, context, calibrates=True)
        if resume is not None
        else _plan(**chosen, early_stop=False, baselines=baselines)
    )
    from harness.run.display import Display  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.run.pipeline import calibrate as run_calibration  # noqa: PLC0415

    with _telling_how_to_resume(plan):
        found = run_calibration(plan, Display(_console()), resume=resume is not None)
        code = _show_calibration(found, RunFolder(Path(plan.folder)))
    raise SystemExit(code)


@app.command(name="plan-questions")
def plan_questions(suite: SuiteName = DEFAULT_SUITE, limit: Limit = None) -> None:
    """Say what a suite's questions can decide, before any is asked: chances of PASS, FAIL and INCONCLUSIVE."""
    from harness.report.outlook import show_outlook  # noqa: PLC0415 - scipy takes a second to import

    show_outlook(plan_on_paper(suite, limit=limit), _console())


@app.command()
def study(  # noqa: PLR0917 - see above
    suite: SuiteName = DEFAULT_SUITE,
    thresholds: ThresholdsFile = None,
    server_python: ServerPython = None,
    plugin_path: PluginPath = None,
    model_path: ModelPath = None,
    data: Data = None,
    data_folder: DataFolder = None,
    reports: Reports = None,
    ranks: Annotated[str, typer.Option(help="Numbers of virtual ranks; sites are those of the first.")] = "2",
    codecs: Annotated[
        str | None, typer.Option(help="CODEC, CODEC:ALGORITHM or MODULE:FUNCTION, with commas; default: twelve.")
    ] = None,
    texts: Annotated[int | None, typer.Option(min=1, help="Fixed texts a source; default: 16.")] = None,
    site_texts: Annotated[int, typer.Option(min=1, help="Of these, how many each site is measured on.")] = 6,
    questions: Annotated[int, typer.Option(min=0, help="Questions of BoolQ a candidate is scored on.")] = 8,
    budget_kl: Annotated[float, typer.Option(help="The harm to be kept, in nats a token.")] = 0.002,
    link: Annotated[
        str, typer.Option(help="What joins the ranks, for predicted times: nvlink4, pcie5, hccs, or 25GB/s,10us.")
    ] = "nvlink4",
    prefill: Annotated[int, typer.Option(min=1, help="Tokens of the prefill whose time is predicted.")] = 8192,
    *,
    sites: Annotated[bool, typer.Option(help="Measure every site alone, and mixes by site.")] = True,
    confirm: Annotated[bool, typer.Option("--confirm", help="Run the recommended policy for real, in full.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be measured, and do nothing.")] = False,
) -> None:
    """Find which compression is safe for a model: many policies, any number of ranks, on one device."""
    chosen = locals()
    raise SystemExit(_study(**chosen))


@app.command()
def prepare(suite: SuiteName = DEFAULT_SUITE, server_python: ServerPython = None) -> None:
    """Make a suite's model and data ready, where the harness makes them itself; nothing is done twice."""
    content, _ = load(suite)
    prepare_model(content.model.path, _interpreter(server_python), device=content.device)
    if content.data is Source.PACKAGED:
        prepare_data(content.data, data_place(content.data))


def _plan(
    *,
    data: Source | None,
    data_folder: Path | None,
    server_python: Path | None,
    plugin_path: Path | None,
    **chosen: Any,  # noqa: ANN401 - checked by Options
) -> Plan:
    """Check the files, each as early as it can be, make model and data ready, and plan."""
    if plugin_path is None:
        raise HarnessError(UNKNOWN_PLACES)
    chosen["reports"] = chosen["reports"] or default_reports(chosen["suite"])
    options = _checked(Options, server_python=_interpreter(server_python), plugin_path=plugin_path, **chosen)
    content, accepted = load(options.suite, thresholds=options.thresholds)
    if not options.dry_run:
        model = _model_place(content, options.model_path, options.server_python)
        options = options.model_copy(update={"model_path": model})
    try:
        place, manifest = _data(content, data, data_folder, fetch=not options.dry_run)
    except NotFetchedError as error:
        # A dry run is for any machine: the packaged data shows the requests' form where the suite's is out of reach.
        typer.echo(
            f"{error}\nThe requests below are made of the packaged data, {STAND_IN_QUESTIONS} a task at most.\n"
        )
        limit = min(options.limit or STAND_IN_QUESTIONS, STAND_IN_QUESTIONS)
        options = options.model_copy(update={"limit": limit})
        place, manifest = _data(content, Source.PACKAGED, None)
    plan = make_plan(content, accepted, options, data=place, data_manifest=manifest, repeat=repeat_command())
    if options.dry_run and options.model_path is None and is_made_here(content.model.path):
        # The run makes it first.
        refused = [reason for reason in plan.refused if not reason.startswith(NO_FOLDER)]
        plan = plan.model_copy(update={"refused": refused})
    return plan


@contextmanager
def _no_hub() -> Iterator[None]:
    """Keep libraries that are imported within from asking a hub, now and later: they read this once."""
    name, before = "HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE")
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _data(
    suite: Suite, given: Source | None, folder: Path | None, *, fetch: bool = True, usual: bool = False
) -> tuple[Path, dict[str, Any]]:
    """Make a suite's data ready and return where it is and what it is; a folder that is named is meant.

    Args:
        suite: The suite.
        given: The source that the command line names.
        folder: The folder that it names.
        fetch: Whether the hub may be asked.
        usual: Whether the usual files are wanted, as far as they are there, and not those of the suite's tasks.
    """
    if folder is not None and given not in (None, Source.FOLDER):
        raise HarnessError(
            f"--data-folder {folder} beside --data {given}, which reads no folder: leave one of them out"
        )
    source = given or (Source.FOLDER if folder is not None else suite.data)
    chosen = folder_of(suite, source, folder)
    place = data_place(source, chosen)
    files = None if usual else needed_files(suite, source)
    if source is Source.HUB and files == []:
        # lm-eval itself loads its tasks' data.
        return place, {"source": source.value, "origin": "as lm-eval's tasks say", "files": {}}
    return place, prepare_data(source, place, folder=chosen, files=files, fetch=fetch)


def _study(
    *,
    suite: str,
    thresholds: Path | None,
    reports: Path | None,
    server_python: Path | None,
    plugin_path: Path | None,
    data: Source | None,
    data_folder: Path | None,
    ranks: str,
    codecs: str | None,
    confirm: bool,
    dry_run: bool,
    **chosen: Any,  # noqa: ANN401 - checked by StudyOptions
) -> int:
    from harness.run.display import Display  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.study.command import exit_code, show_plan, show_study  # noqa: PLC0415
    from harness.study.confirm import confirm_study  # noqa: PLC0415
    from harness.study.make import StudyOptions, make_study, split_list, split_ranks  # noqa: PLC0415
    from harness.study.run import run_study  # noqa: PLC0415

    if plugin_path is None:
        raise HarnessError(UNKNOWN_PLACES)
    python = _interpreter(server_python)
    options = _checked(
        StudyOptions,
        suite=suite,
        server_python=python,
        plugin_path=plugin_path,
        reports=reports or default_reports(suite),
        ranks=split_ranks(ranks),
        codecs=split_list(codecs) if codecs is not None else None,
        confirm=confirm,
        **chosen,
    )
    content, accepted = load(suite, thresholds=thresholds)
    if not dry_run:
        options = options.model_copy(update={"model_path": _model_place(content, options.model_path, python)})
    place, manifest = _data(content, data, data_folder, usual=True)
    plan = make_study(content, options, data=place, data_manifest=manifest, repeat=repeat_command())
    console = _console()
    if dry_run:
        show_plan(plan, console)
        return 0
    display = Display(console)
    report, folder = run_study(plan, display)
    if confirm and report.recommended is not None:
        real = Options(
            suite=suite,
            thresholds=thresholds,
            server_python=python,
            plugin_path=plugin_path,
            model_path=options.model_path,
            reports=options.reports,
            policy=folder.policy,
        )
        run_plan = make_plan(content, accepted, real, data=place, data_manifest=manifest, repeat=repeat_command())
        report = confirm_study(plan, folder, run_plan, display)
    show_study(report, folder, console)
    return exit_code(report)


def _model_place(content: Suite, named: str | None, python: Path) -> str:
    """Return where a suite's model is, or the one named in its place; made ready or fetched if it isn't there."""
    if named is not None:
        return fetch_model(named, None)
    prepare_model(content.model.path, python, device=content.device)
    return fetch_model(model_place(content.model.path), content.model.revision)


def _checked(kind: type[OptionsT], **chosen: Any) -> OptionsT:  # noqa: ANN401 - checked here
    try:
        return kind(**chosen)
    except ValidationError as error:
        told = [f"--{str(found['loc'][0]).replace('_', '-')}: {found['msg']}" for found in error.errors()]
        raise HarnessError("\n".join(told)) from error


def _interpreter(server_python: Path | None) -> Path:
    if server_python is None:
        raise HarnessError(UNKNOWN_PLACES)
    return server_python


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's folder, for example reports/latest.")]) -> None:
    """Build the report of a run, a calibration or a study again from its own files, and end with its exit code."""
    from harness.report.build import build_report  # noqa: PLC0415 - see above
    from harness.report.terminal import show  # noqa: PLC0415
    from harness.report.write import write_report  # noqa: PLC0415

    folder = RunFolder(run.resolve())
    if (measured := StudyFolder(folder.path)).is_study:
        from harness.study.build import build_study  # noqa: PLC0415
        from harness.study.command import exit_code, show_study  # noqa: PLC0415
        from harness.study.write import write_study  # noqa: PLC0415

        found = build_study(measured)
        write_study(found, measured, latest=False)
        show_study(found, measured, _console())
        raise SystemExit(exit_code(found))
    if read_record(folder.plan, Plan).calibrates:
        from harness.report.calibration import write_calibration  # noqa: PLC0415

        raise SystemExit(_show_calibration(write_calibration(folder), folder))
    built = build_report(folder)
    write_report(built, folder)
    show(built, _console(), folder)
    raise SystemExit(built.exit_code)


@app.command()
def new(
    model: Annotated[str, typer.Option(help="The model's folder, or a hub's name.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or npu.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="The folder to make; default: beside this repository.")] = None,
) -> None:
    """Write a suite, a task, thresholds and a data folder of your own to fill in, and say what to do next."""
    folder = (out or ROOT.parent / f"{Path(model).name}-accuracy").absolute()
    suite = shlex.quote(str(write_new_suite(model, device, folder)))
    typer.echo(
        f"written: {folder}\n"
        f"1. put your questions into {folder / 'data' / 'questions.jsonl'} (form: README.md there), read the suite's "
        f"and thresholds' comments\n"
        f"2. see what would be done:  nox -s accuracy -- --suite {suite} --dry-run\n"
        f"3. decide:                  nox -s accuracy -- --suite {suite}"
    )


@app.command()
def suites(
    named: Annotated[list[str] | None, typer.Argument(help="Names or files; default: all.")] = None,
    device: Annotated[str | None, typer.Option(help="Only those of this device.")] = None,
) -> None:
    """List the suites, or those named: name, device, model, description. A broken one's device is `broken`."""
    for one in named or suite_names():
        try:
            content = read_suite(one)
        except HarnessError as error:
            sys.stderr.write(f"{error}\n")
            typer.echo(f"{one}\t{BROKEN}\t-\tcannot be read")
            continue
        if device in (None, content.device):
            typer.echo(f"{one}\t{content.device}\t{content.model.path}\t{content.description}")


def _show_calibration(found: CalibrationReport, folder: RunFolder) -> int:
    from harness.report.calibration import show_calibration  # noqa: PLC0415 - see above

    show_calibration(found, _console(), folder)
    return ERROR if found.errors else 0


def _run(plan: Plan, *, resume: bool = False) -> int:
    from harness.report.terminal import show  # noqa: PLC0415
    from harness.run.display import Display  # noqa: PLC0415
    from harness.run.pipeline import run  # noqa: PLC0415 - lm-eval takes seconds to import

    console = _console()
    with _telling_how_to_resume(plan):
        done = run(plan, Display(console), resume=resume)
        show(done, console, RunFolder(Path(plan.folder)))
    return done.exit_code


def _plan_to_resume(folder: Path, context: typer.Context, *, calibrates: bool) -> Plan:
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
def _telling_how_to_resume(plan: Plan) -> Iterator[None]:
    """Have the last line on the terminal say how a run goes on that breaks within the body."""
    from harness.run.journal import how_to_resume  # noqa: PLC0415 - see above

    try:
        yield
    finally:
        if command := how_to_resume(plan):
            LAST_WORDS.append(f"to go on with what is left of the run: {command}")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line; return 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR, 130 after Ctrl-C."""
    # A CI job that is cancelled gets SIGTERM: it must end the servers just as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    # A terminal that is closed means the same, but not to what was started to outlive it (nohup).
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    LAST_WORDS.clear()
    code = _command_line()
    sys.stdout.flush()
    for words in LAST_WORDS:
        sys.stderr.write(f"{words}\n")
    return code


def _command_line() -> int:
    # Where a shell started it in the background, Ctrl-C is ignored unless this says otherwise.
    signal.signal(signal.SIGINT, _interrupt)
    try:
        result = app(standalone_mode=False)
    except HarnessError as error:
        sys.stderr.write(f"ERROR\n{harmless(str(error))}\n")
        return ERROR
    except TyperException as error:
        # Not typer's own exit code 2, which is INCONCLUSIVE here.
        sys.stderr.write(f"ERROR\n{error.format_message()}\n")
        return ERROR
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else ERROR
    except Exception:  # noqa: BLE001 - Python's own exit code for these is 1, which is FAIL here
        sys.stderr.write(f"ERROR\n{traceback.format_exc()}")
        return ERROR
    if result == INTERRUPTED:
        # Typer itself makes this number of a KeyboardInterrupt.
        sys.stderr.write("interrupted: the servers are ended, what was measured is kept\n")
    return result if isinstance(result, int) else 0
