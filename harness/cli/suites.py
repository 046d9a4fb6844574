"""What there is to run: listed, written anew, made ready, and what its questions can decide."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import DEFAULT_SUITE, app, console
from harness.cli.options import Limit, ServerPython, SuiteName
from harness.cli.ready import interpreter
from harness.config.load import judges, load, read_suite, suite_names
from harness.config.new_suite import write_new_suite
from harness.config.suite import Source
from harness.errors import HarnessError
from harness.places import ROOT
from harness.plan.make import plan_on_paper
from harness.prepare.data import data_place
from harness.prepare.data import prepare as prepare_data
from harness.prepare.models import prepare_model

# Stands where a suite that cannot be read would say its device.
BROKEN = "broken"


@app.command(name="plan-questions")
def plan_questions(suite: SuiteName = DEFAULT_SUITE, limit: Limit = None) -> None:
    """Say what a suite's questions can decide, before any is asked: chances of PASS, FAIL and INCONCLUSIVE."""
    from harness.report.outlook import show_outlook  # noqa: PLC0415 - scipy takes a second to import

    show_outlook(plan_on_paper(suite, limit=limit), console())


@app.command()
def prepare(suite: SuiteName = DEFAULT_SUITE, server_python: ServerPython = None) -> None:
    """Make a suite's model and data ready, where the harness makes them itself; nothing is done twice."""
    content, _ = load(suite)
    prepare_model(content.model.path, interpreter(server_python), device=content.device)
    if content.data is Source.PACKAGED:
        prepare_data(content.data, data_place(content.data))


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
    *,
    judged: Annotated[bool, typer.Option("--judged", help="Only those whose thresholds judge anything.")] = False,
) -> None:
    """List the suites, or those named: name, device, model, description. A broken one's device is `broken`."""
    for one in named or suite_names():
        try:
            content = read_suite(one)
        except HarnessError as error:
            sys.stderr.write(f"{error}\n")
            typer.echo(f"{one}\t{BROKEN}\t-\tcannot be read")
            continue
        if device in (None, content.device) and (not judged or judges(one)):
            typer.echo(f"{one}\t{content.device}\t{content.model.path}\t{content.description}")
