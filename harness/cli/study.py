"""`study`: many policies measured on one server of virtual ranks."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.app import DEFAULT_SUITE, app, console
from harness.cli.options import (
    Data,
    DataFolder,
    ModelPath,
    PluginPath,
    Reports,
    ServerPython,
    SuiteName,
    ThresholdsFile,
)
from harness.cli.ready import UNKNOWN_PLACES, checked, data_of, interpreter, place_of_model
from harness.config.load import load
from harness.config.suite import Source
from harness.errors import HarnessError, NotFetchedError
from harness.plan.make import default_reports, make_plan, repeat_command
from harness.plan.options import Options

if TYPE_CHECKING:
    from harness.run.display import Display
    from harness.study.setup import ReadyStudy


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
    questions: Annotated[
        int, typer.Option(min=0, help="Questions a candidate is scored on, of BoolQ or the suite's own task.")
    ] = 8,
    budget_kl: Annotated[float, typer.Option(help="The harm to be kept, in nats a token.")] = 0.002,
    link: Annotated[
        str, typer.Option(help="What joins the ranks, for predicted times: nvlink4, pcie5, hccs, or 25GB/s,10us.")
    ] = "nvlink4",
    prefill: Annotated[int, typer.Option(min=1, help="Tokens of the prefill whose time is predicted.")] = 8192,
    ray: Annotated[
        str | None,
        typer.Option(help="Share it out over a Ray cluster: its address, `auto`, or `local` for this machine alone."),
    ] = None,
    parts: Annotated[
        int | None, typer.Option(min=1, help="Among how many servers; default: as many as the hosts have room for.")
    ] = None,
    *,
    sites: Annotated[bool, typer.Option(help="Measure every site alone, and mixes by site.")] = True,
    confirm: Annotated[bool, typer.Option("--confirm", help="Run the recommended policy for real, in full.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be measured, and do nothing.")] = False,
) -> None:
    """Find which compression is safe for a model: many policies, any number of ranks, on one device."""
    chosen = locals()
    raise SystemExit(_study(**chosen))


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
    ray: str | None,
    parts: int | None,
    confirm: bool,
    dry_run: bool,
    **chosen: Any,  # noqa: ANN401 - checked by StudyOptions
) -> int:
    from harness.run.display import Display  # noqa: PLC0415 - lm-eval takes seconds to import
    from harness.study.command import exit_code, show_plan, show_study  # noqa: PLC0415
    from harness.study.confirm import confirm_study  # noqa: PLC0415
    from harness.study.make import StudyOptions, make_study, split_list, split_ranks  # noqa: PLC0415
    from harness.study.run import run_study  # noqa: PLC0415

    if parts is not None and ray is None:
        raise HarnessError("--parts says among how many servers a study is shared out: name their cluster with --ray")
    if plugin_path is None:
        raise HarnessError(UNKNOWN_PLACES)
    python = interpreter(server_python)
    options = checked(
        StudyOptions,
        suite=suite,
        server_python=python,
        plugin_path=plugin_path,
        reports=reports or default_reports(suite),
        ranks=split_ranks(ranks),
        codecs=split_list(codecs) if codecs is not None else None,
        **chosen,
    )
    content, accepted = load(suite, thresholds=thresholds)
    if not dry_run:
        options = options.model_copy(update={"model_path": place_of_model(content, options.model_path, python)})
    own = content.fidelity is not None and bool(content.fidelity.tasks)
    try:
        place, manifest = data_of(content, data, data_folder, fetch=not dry_run, usual=not own)
    except NotFetchedError as error:
        typer.echo(f"{error}\nThe plan below is made with the packaged texts.\n")
        place, manifest = data_of(content, Source.PACKAGED, None, usual=not own)
    plan = make_study(content, options, data=place, data_manifest=manifest, repeat=repeat_command())
    terminal = console()
    if dry_run:
        show_plan(plan, terminal, shared=ray is not None, parts=parts)
        return 0
    display = Display(terminal)
    with ExitStack() as cluster:
        share = None if ray is None else _sharing(ray, parts, display, cluster)
        report, folder = run_study(plan, display, share=share)
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
    show_study(report, folder, terminal)
    return exit_code(report)


def _sharing(
    address: str, parts: int | None, display: "Display", cluster: ExitStack
) -> "Callable[[ReadyStudy], None]":
    """Connect to a cluster until a study is shared out over it, and return what does that.

    Raises:
        HarnessError: Ray is not there, or cannot be reached.
    """
    from harness.cli.fleet import ray_cluster  # noqa: PLC0415 - see above
    from harness.fleet.study_parts import share_study  # noqa: PLC0415

    engine = cluster.enter_context(ray_cluster(address))

    def share(ready: "ReadyStudy") -> None:
        share_study(ready, engine, parts=parts, say=display.say)
        # This host is not to wait for Ray while it measures the rest.
        cluster.close()

    return share
