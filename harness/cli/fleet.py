"""`fleet`: many runs, their arms shared out over hosts by Ray, which an environment of its own has."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.accuracy import take_in_mind
from harness.cli.app import LAST_WORDS, app, console
from harness.cli.options import PluginPath, Reports, ServerPython
from harness.cli.ready import checked_plan
from harness.errors import ConfigError, HarnessError, Problem
from harness.places import ROOT, point_latest
from harness.plan.make import moment, repeat_command
from harness.records.run import read_record, write_record
from harness.records.run_folder import PRIVATE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from harness.config.yaml_file import YamlFile
    from harness.fleet.cluster import RayCluster
    from harness.fleet.matrix import Matrix, Wanted
    from harness.fleet.records import FleetFolder, FleetPlan, FleetRun

LATEST_FLEET = "latest-fleet"


@app.command()
def fleet(  # noqa: PLR0917 - typer makes an option of each
    matrix: Annotated[str | None, typer.Argument(help="A matrix of suites/fleet, or a file's path.")] = None,
    ray: Annotated[
        str | None, typer.Option(help="A Ray cluster's address, or `auto`; default: this machine alone.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="The folder of a fleet that was ended, which goes on.")] = None,
    server_python: ServerPython = None,
    plugin_path: PluginPath = None,
    release: Annotated[
        list[str] | None, typer.Option(hidden=True, help="NAME=INTERPRETER of a release, made by nox.")
    ] = None,
    reports: Reports = None,
    *,
    releases: Annotated[bool, typer.Option("--releases", hidden=True, help="List the matrix' releases.")] = False,
) -> None:
    """Run a matrix of suites, policies and releases on a Ray cluster, and judge every run: one exit code for all."""
    from harness.fleet.matrix import matrix_file, read_matrix  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.fleet.matrix import releases as named  # noqa: PLC0415
    from harness.fleet.records import FleetFolder, FleetPlan  # noqa: PLC0415

    if (matrix is None) == (resume is None):
        raise HarnessError("name a matrix, or with --resume the folder of a fleet that is to go on")
    if resume is not None:
        folder = FleetFolder(resume.resolve())
        plan = read_record(folder.plan, FleetPlan)
        if folder.path.name != plan.fleet_id or any(
            Path(run.plan.folder).parent != folder.path.parent for run in plan.runs
        ):
            raise HarnessError(f"{folder.path} is not where the fleet {plan.fleet_id} started: move it back")
        raise SystemExit(run_fleet(plan, folder, ray))
    file, wanted = read_matrix(matrix_file(str(matrix)))
    if releases:
        typer.echo("\n".join(named(file.content)))
        raise SystemExit(0)
    place = (reports or ROOT / "reports").resolve()
    pythons = {name: Path(python) for name, _, python in (text.partition("=") for text in release or ())}
    runs = plan_runs(
        file, wanted, server_python=server_python, plugin_path=plugin_path, pythons=pythons, reports=place
    )
    now = datetime.now(UTC)
    plan = FleetPlan(
        fleet_id=f"fleet-{moment(now)}-{file.path.stem}",
        started=now.isoformat(timespec="seconds"),
        matrix=str(file.path),
        runs=runs,
    )
    folder = FleetFolder(place / plan.fleet_id)
    folder.path.mkdir(mode=PRIVATE, parents=True)
    write_record(folder.plan, plan)
    point_latest(folder.path, LATEST_FLEET)
    raise SystemExit(run_fleet(plan, folder, ray))


def plan_runs(
    file: "YamlFile[Matrix]",
    wanted: "list[Wanted]",
    *,
    server_python: Path | None,
    plugin_path: Path | None,
    pythons: dict[str, Path],
    reports: Path,
) -> "list[FleetRun]":
    """Plan every run of a matrix as `accuracy` would plan it by itself.

    Args:
        file: The matrix.
        wanted: The runs that it asks for.
        server_python: The usual interpreter that has SGLang.
        plugin_path: The folder that carries the plugin's entry point.
        pythons: Each release's interpreter.
        reports: Where the runs' folders go.

    Raises:
        ConfigError: Runs that cannot be planned, all of them at once.
    """
    from harness.fleet.matrix import baseline_key, needs_of  # noqa: PLC0415 - see above
    from harness.fleet.records import FleetRun  # noqa: PLC0415

    runs, problems = list[FleetRun](), list[Problem]()
    for one in wanted:
        row, python = one.row, server_python
        if one.release is not None:
            if one.release not in pythons:
                problems.append(
                    file.problem(one.key, f"SGLang {one.release}: start through `nox -s fleet`, which has it")
                )
                continue
            python = pythons[one.release]
        elif row.server_python is not None:
            python = Path(row.server_python)
        try:
            plan = checked_plan(
                data=None,
                data_folder=None,
                server_python=python,
                plugin_path=plugin_path,
                repeat=repeat_command(one.arguments),
                suite=one.suite,
                thresholds=one.thresholds,
                limit=row.limit,
                reports=reports,
                codec=one.codec,
                policy=one.policy,
                noise_floor=row.noise_floor,
                early_stop=row.early_stop,
            )
        except HarnessError as error:
            problems.append(file.problem(one.key, str(error)))
            continue
        if row.shards > 1 and any(task.early_stop for task in plan.tasks.values()):
            problems.append(
                file.problem(one.key, "shards and early_stop exclude each other: nobody sees all answers")
            )
            continue
        runs.append(
            FleetRun(
                plan=plan,
                compression=one.compression,
                release=one.release or row.server_python or "the usual",
                priority=row.priority,
                same_host=row.same_host,
                shards=row.shards,
                needs=needs_of(plan, row),
                baseline=baseline_key(plan, row.shards),
            )
        )
    if problems:
        raise ConfigError(problems)
    return runs


def run_fleet(plan: "FleetPlan", folder: "FleetFolder", address: str | None) -> int:
    """Carry a fleet's plan out, or what is left of it; return the exit code.

    Raises:
        HarnessError: Ray is not in this environment.
    """
    from harness.fleet.head import Head  # noqa: PLC0415
    from harness.fleet.records import resume_command  # noqa: PLC0415
    from harness.fleet.table import live_table  # noqa: PLC0415
    from harness.run.display import Display  # noqa: PLC0415

    terminal = console()
    display = Display(terminal)
    done = False
    try:
        with ray_cluster(address) as cluster, live_table(terminal) as table:
            display.say(f"{plan.fleet_id}: {len(plan.runs)} runs; {len(cluster.hosts())} hosts")
            if cluster.dashboard:
                display.say(f"Ray's dashboard: {cluster.dashboard}")
            head = Head(plan, folder, cluster, say=display.say, remember=take_in_mind, show=table.show)
            report = head.work()
            done = True
    finally:
        if not done:
            LAST_WORDS.append(f"to go on with what is left of the fleet: {resume_command(folder.path)}")
    for run in report.runs:
        display.say(run.line)
    display.say(f"{report.verdict}: {folder.page}")
    return report.exit_code


def ray_cluster(address: str | None) -> "AbstractContextManager[RayCluster]":
    """Connect to a cluster as `harness.fleet.cluster.connected` does.

    Raises:
        HarnessError: Ray is not in this environment.
    """
    try:
        from harness.fleet.cluster import connected  # noqa: PLC0415 - Ray is in the environment of `nox -s fleet` alone
    except ModuleNotFoundError as error:
        raise HarnessError(
            f"Ray is not in this environment ({error}): start through `nox -s fleet`, or `nox -s study` with --ray"
        ) from error
    return connected(address)
