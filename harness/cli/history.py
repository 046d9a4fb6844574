"""`history` and `compare`: every run so far, whether it is getting worse, and any two side by side."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import DEFAULT_SUITE, app, console
from harness.cli.options import SuiteName, ThresholdsFile
from harness.config.load import default_thresholds, suite_label
from harness.errors import HarnessError
from harness.judge.verdict import EXIT_CODES, Verdict
from harness.places import LATEST, ROOT
from harness.records.run_folder import RunFolder
from harness.safety import harmless

ReportsFolder = Annotated[Path, typer.Option(help="The folder of the run folders, where the memory lies too.")]
REPORTS = ROOT / "reports"


@app.command()
def history(
    suite: Annotated[str | None, typer.Option(help="One suite; default: every one that has runs.")] = None,
    reports: ReportsFolder = REPORTS,
    accept: Annotated[
        Path | None, typer.Option(help="The folder of a run that is the new normal: later nights are held to it.")
    ] = None,
    why: Annotated[str | None, typer.Option(help="With --accept: why.")] = None,
    *,
    plot: Annotated[bool, typer.Option(help="Draw each suite's trend, history-SUITE.svg.")] = True,
) -> None:
    """Show the trend of every figure and judge it: exit code 1 where one got worse and has not recovered."""
    from harness.history.show import show_trend  # noqa: PLC0415 - scipy and lm-eval take seconds to import
    from harness.history.store import opened  # noqa: PLC0415
    from harness.history.sync import accept as note  # noqa: PLC0415
    from harness.history.sync import is_judged, sync  # noqa: PLC0415
    from harness.history.trend import trend  # noqa: PLC0415

    if (accept is None) != (why is None):
        raise HarnessError("--accept FOLDER and --why TEXT go together: the memory keeps why a run is the new normal")
    if accept is not None and why is not None:
        folder = RunFolder(accept.resolve())
        if not is_judged(folder):
            raise HarnessError(f"--accept {accept}: holds no run of a suite")
        note(folder, why, datetime.now(tz=UTC).date())
    with opened(reports) as store:
        for text in sync(store, reports):
            typer.echo(f"not taken in: {text}")
        named = [suite] if suite else sorted({run.suite for run in store.runs()})
        found = [one for name in named if (one := trend(store, name)) is not None]
    if not found:
        raise HarnessError(f"{reports} has no runs{f' of {suite}' if suite else ''}: `nox -s accuracy` makes one")
    for one in found:
        show_trend(one, console())
        if plot:
            from harness.history.plot import draw_trend  # noqa: PLC0415

            file = reports / f"history-{one.suite}.svg"
            draw_trend(one, file)
            typer.echo(f"plot: {file}\n")
    raise SystemExit(EXIT_CODES[Verdict.FAIL] if any(one.verdict is Verdict.FAIL for one in found) else 0)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run's folder.")],
    second: Annotated[Path, typer.Argument(help="Another's, which is held against it.")],
) -> None:
    """Put two runs side by side: figures, what their answers depend on, and the questions that differ."""
    from harness.history.compare import show_comparison  # noqa: PLC0415 - see above
    from harness.history.sync import memory_of  # noqa: PLC0415

    folders = (RunFolder(first.resolve()), RunFolder(second.resolve()))
    one, other = (memory_of(folder) for folder in folders)
    show_comparison(one, other, folders, console())


@app.command(hidden=True)
def night(
    began: Annotated[datetime, typer.Option(help="When the night began, UTC.")],
    part: Annotated[list[str], typer.Option(help="NAME=EXIT CODE of each part of the night.")],
    reports: ReportsFolder = REPORTS,
    keep: Annotated[
        int,
        typer.Option(
            min=0, help="Runs of each suite that stay whole; older good ones lose their arms' files. 0: all."
        ),
    ] = 0,
) -> None:
    """End a night: judge its trend, write summary.txt and night.json, make room; 1 where a figure got worse."""
    from harness.history.night import build_night, summary  # noqa: PLC0415 - see above
    from harness.history.plot import draw_trend  # noqa: PLC0415
    from harness.history.prune import prune  # noqa: PLC0415
    from harness.history.store import opened  # noqa: PLC0415
    from harness.history.sync import sync  # noqa: PLC0415
    from harness.history.trend import trend  # noqa: PLC0415
    from harness.records.run import write_record, write_whole  # noqa: PLC0415

    codes = {name: int(code) for name, _, code in (text.rpartition("=") for text in part)}
    with opened(reports) as store:
        for text in sync(store, reports):
            typer.echo(f"not taken in: {text}")
        found = build_night(store, reports, began.replace(tzinfo=UTC), codes)
        for name in codes:
            if (its := trend(store, name)) is not None:
                draw_trend(its, reports / f"history-{name}.svg")
        smaller = prune(store, reports, keep) if keep else []
    latest = reports / LATEST
    folder = latest if latest.is_dir() else reports
    write_whole(folder / "summary.txt", text := harmless(summary(found)))
    write_record(folder / "night.json", found)
    typer.echo(text)
    for path in smaller:
        typer.echo(f"made smaller: {path}")
    worse = any(one.name.startswith("history of ") and one.verdict == Verdict.FAIL for one in found.parts)
    raise SystemExit(EXIT_CODES[Verdict.FAIL] if worse else 0)


@app.command()
def review(
    suite: SuiteName = DEFAULT_SUITE,
    reports: ReportsFolder = REPORTS,
    thresholds: ThresholdsFile = None,
    *,
    allow_wider: Annotated[bool, typer.Option("--allow-wider", help="Propose what is wider than today too.")] = False,
) -> None:
    """Show each threshold of a suite with its evidence from all runs; propose changes as a patch, never applied."""
    from harness.history.review import proposals  # noqa: PLC0415 - see above
    from harness.history.review import review as look_at  # noqa: PLC0415
    from harness.history.show_review import show_review  # noqa: PLC0415
    from harness.history.store import opened  # noqa: PLC0415
    from harness.history.sync import sync  # noqa: PLC0415
    from harness.judge.other_thresholds import with_thresholds  # noqa: PLC0415
    from harness.judge.threshold_patch import thresholds_patch  # noqa: PLC0415
    from harness.records.run import write_whole  # noqa: PLC0415

    file = thresholds or default_thresholds(suite)
    with opened(reports) as store:
        for text in sync(store, reports):
            typer.echo(f"not taken in: {text}")
        runs = store.runs(suite_label(suite))
        if not runs:
            raise HarnessError(f"{reports} has no runs of {suite}: thresholds have no evidence before the first")
        plan = with_thresholds(RunFolder(reports / runs[-1].run_id), file)
        found = look_at(store, runs[-1].suite, plan, allow_wider=allow_wider)
    today = f"{datetime.now(tz=UTC):%Y-%m-%d}"
    proposed = list(proposals(plan.model, found, today))
    patch = thresholds_patch(
        file, {place: value for place, value, _ in proposed}, {place: comment for place, _, comment in proposed}
    )
    show_review(plan, file, found, console())
    if patch:
        written = reports / f"review-{runs[-1].suite}.patch"
        write_whole(written, patch)
        typer.echo(f"\nproposed, read it first: git apply {written}\n\n{patch}")
