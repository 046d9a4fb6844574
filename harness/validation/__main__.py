"""`python -m harness.validation`: simulate, judge the bars, write table and plot."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from harness.places import LATEST, ROOT, point_latest
from harness.validation.bars import bars, night_bars, prediction_bars, task_bars
from harness.validation.drop_cells import simulate, truths
from harness.validation.night_cells import simulate_nights
from harness.validation.other_cells import simulate_others
from harness.validation.prediction_cells import simulate_predictions
from harness.validation.task_cells import simulate_tasks
from harness.validation.write import Validation, write

RUNS = 40_000
OTHER_RUNS = 10_000
PREDICTION_RUNS = 3_000
NIGHT_RUNS = 1_000
SHORT = 400
REPORTS = ROOT / "reports"
NAME = "validation"
MET = {True: "met", False: "MISSED", None: "seen"}


def validate(runs: int, other_runs: int, seed: int) -> Validation:
    """Simulate all cells.

    Args:
        runs: Runs of each cell of the drop.
        other_runs: Runs of each other cell, which take longer.
        seed: Of the random numbers.
    """
    start = time.monotonic()
    drops = [simulate(truth, runs, np.random.default_rng([seed, index])) for index, truth in enumerate(truths())]
    others = list(simulate_others(other_runs, np.random.default_rng([seed, len(drops)])))
    tasks = list(simulate_tasks(other_runs, np.random.default_rng([seed, len(drops) + 1])))
    predictions = list(
        simulate_predictions(min(other_runs, PREDICTION_RUNS), np.random.default_rng([seed, len(drops) + 2]))
    )
    nights = list(simulate_nights(runs, min(other_runs, NIGHT_RUNS), np.random.default_rng([seed, len(drops) + 3])))
    return Validation(
        date=f"{datetime.now(tz=UTC):%Y-%m-%d}",
        seed=seed,
        seconds=time.monotonic() - start,
        bars=[*bars(drops, others), *task_bars(tasks), *prediction_bars(predictions), *night_bars(nights)],
        drops=drops,
        others=[*tasks, *others, *predictions, *nights],
    )


def main(
    runs: Annotated[int, typer.Option(min=100, help="Runs of each cell of the drop.")] = RUNS,
    other_runs: Annotated[int, typer.Option(min=100, help="Runs of each other cell.")] = OTHER_RUNS,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: a new one in reports/.")] = None,
    *,
    short: Annotated[bool, typer.Option("--short", help=f"{SHORT} runs a cell, to see that it works.")] = False,
) -> None:
    """Simulate the verdicts on answers whose truth is known; exit code 1 where a bar is missed."""
    found = validate(SHORT if short else runs, SHORT if short else other_runs, seed)
    if out:
        page = write(found, out, NAME)
    else:
        page = write(found, REPORTS / f"{datetime.now(tz=UTC):%Y%m%d-%H%M%S}-{NAME}", "report")
        point_latest(page.parent, f"{LATEST}-{NAME}")
    for bar in found.bars:
        typer.echo(f"{MET[bar.met]:6} {bar.name}: worst {bar.worst:.2%}, limit {bar.limit:.2%} ({bar.where})")
    typer.echo(f"{len(found.drops)} + {len(found.others)} cells in {found.seconds:.0f} s: {page}")
    if any(bar.met is False for bar in found.bars):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
