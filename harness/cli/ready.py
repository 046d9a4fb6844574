"""From what was typed to a plan: options checked, model and data made ready."""

from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from harness.config.load import load
from harness.config.suite import Source, Suite
from harness.errors import HarnessError, NotFetchedError
from harness.places import model_place
from harness.plan.make import default_reports, make_plan, repeat_command
from harness.plan.model_folder import NO_FOLDER
from harness.plan.options import Options
from harness.plan.plan import Plan
from harness.prepare.data import data_place
from harness.prepare.data import prepare as prepare_data
from harness.prepare.models import fetch_model, is_made_here, prepare_model
from harness.prepare.needed import data_folder as folder_of
from harness.prepare.needed import needed_files

OptionsT = TypeVar("OptionsT", bound=BaseModel)
UNKNOWN_PLACES = (
    "the server's interpreter and the plugin's folder are not known: start through `nox -s accuracy`, or set "
    "HARNESS_SERVER_PYTHON and HARNESS_PLUGIN_PATH"
)
STAND_IN_QUESTIONS = 64


def checked_plan(
    *,
    data: Source | None,
    data_folder: Path | None,
    server_python: Path | None,
    plugin_path: Path | None,
    repeat: str | None = None,
    **chosen: Any,  # noqa: ANN401 - checked by Options
) -> Plan:
    """Check the files, each as early as it can be, make model and data ready, and plan.

    Args:
        data: The source of the data that was typed.
        data_folder: The folder of data that was typed.
        server_python: The interpreter that has SGLang.
        plugin_path: The folder that carries the plugin's entry point.
        repeat: The command that repeats the run; if None the one that started this process.
        chosen: What else was typed, see `Options`.

    Raises:
        HarnessError: Something that was typed or written is wrong, or not there.
    """
    if plugin_path is None:
        raise HarnessError(UNKNOWN_PLACES)
    chosen["reports"] = chosen["reports"] or default_reports(chosen["suite"])
    options = checked(Options, server_python=interpreter(server_python), plugin_path=plugin_path, **chosen)
    content, accepted = load(options.suite, thresholds=options.thresholds)
    if not options.dry_run:
        model = place_of_model(content, options.model_path, options.server_python)
        options = options.model_copy(update={"model_path": model})
    else:
        options = _with_cached_model(content, options)
    try:
        place, manifest = data_of(content, data, data_folder, fetch=not options.dry_run)
    except NotFetchedError as error:
        # A dry run is for any machine: the packaged data shows the requests' form where the suite's is out of reach.
        typer.echo(
            f"{error}\nThe requests below are made of the packaged data, {STAND_IN_QUESTIONS} a task at most.\n"
        )
        limit = min(options.limit or STAND_IN_QUESTIONS, STAND_IN_QUESTIONS)
        options = options.model_copy(update={"limit": limit})
        place, manifest = data_of(content, Source.PACKAGED, None)
    plan = make_plan(
        content, accepted, options, data=place, data_manifest=manifest, repeat=repeat or repeat_command()
    )
    if options.dry_run and options.model_path is None and is_made_here(content.model.path):
        # The run makes it first.
        refused = [reason for reason in plan.refused if not reason.startswith(NO_FOLDER)]
        plan = plan.model_copy(update={"refused": refused})
    return plan


def _with_cached_model(content: Suite, options: Options) -> Options:
    """Return a dry run's options with the folder that the run would take of a hub's cache, or say that it fetches."""
    named = options.model_path
    place, revision = (named, None) if named else (model_place(content.model.path), content.model.revision)
    try:
        found = fetch_model(place, revision, fetch=False)
    except NotFetchedError as error:
        typer.echo(f"{error}\n")
        return options
    return options if found == place else options.model_copy(update={"model_path": found})


def data_of(
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


def place_of_model(content: Suite, named: str | None, python: Path) -> str:
    """Return where a suite's model is, or the one named in its place; made ready or fetched if it isn't there."""
    if named is not None:
        return fetch_model(named, None)
    prepare_model(content.model.path, python, device=content.device)
    return fetch_model(model_place(content.model.path), content.model.revision)


def checked(kind: type[OptionsT], **chosen: Any) -> OptionsT:  # noqa: ANN401 - checked here
    """Return the options as a checked object.

    Raises:
        HarnessError: They are not right: all problems, a line each.
    """
    try:
        return kind(**chosen)
    except ValidationError as error:
        told = [f"--{str(found['loc'][0]).replace('_', '-')}: {found['msg']}" for found in error.errors()]
        raise HarnessError("\n".join(told)) from error


def interpreter(server_python: Path | None) -> Path:
    """Return the interpreter that has SGLang, which nox names.

    Raises:
        HarnessError: It named none.
    """
    if server_python is None:
        raise HarnessError(UNKNOWN_PLACES)
    return server_python
