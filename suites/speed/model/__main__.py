"""The model's table and plots: ``python -m suites.speed.model FILE``, of what ``bench --device cuda`` measured."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.collective.candidate import ALGORITHMS
from harness.performance.links import LINKS
from harness.performance.measurements import Run, from_json
from harness.performance.model import WIDTH
from suites.publish import table
from suites.speed.model.formulas import CODEC, RANKS, SIZES, pays_from, ratio


def as_text(run: Run) -> str:
    """A table: a line for each link and rank count."""
    rows = []
    for link in LINKS:
        for ranks in (count for count in RANKS if count <= link.most_ranks):
            cells = [link.name, str(ranks)]
            for algorithm in ALGORITHMS:
                first = pays_from(run, link, ranks, algorithm)
                cells += [_size(first) if first else "never", f"{ratio(run, link, ranks, SIZES[-1], algorithm):.2f}"]
            rows.append(cells)
    head = ["link", "N", "one-shot pays from", "over plain at 1 GiB", "two-shot pays from", "over plain at 1 GiB"]
    inputs = f"A model, from kernels measured on one {run.device} ({run.date}), {CODEC}, H = {WIDTH}."
    return f"{table(head, rows)}\n\n{inputs}"


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and draws the plots where asked to."""
    parser = argparse.ArgumentParser(prog="python -m suites.speed.model")
    parser.add_argument(
        "measurements", type=Path, help="what bench --device cuda wrote, such as docs/measurements/h100.json"
    )
    parser.add_argument("--out", type=Path, help="a folder for the plots")
    chosen = parser.parse_args(arguments)
    run = from_json(chosen.measurements.read_text(encoding="utf-8"))
    print(as_text(run))  # noqa: T201 - the program's output
    if chosen.out:
        from suites.speed.model import plots  # noqa: PLC0415 - the table needs no matplotlib

        plots.draw(run, chosen.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
