"""The table people read: how far off, how noisy, how many bytes, how slow, for every codec.

Printed at the end of the suite, and by ``python -m suites.numerics.table``.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.collective.activations import SITES
from harness.collective.candidate import ALGORITHMS
from harness.collective.implementation import load_implementation
from suites.numerics.cases.case import DTYPES
from suites.numerics.figures import (
    CAPTURE_COMMAND,
    CAPTURED,
    SHAPE,
    TIMED_SHAPE,
    Accuracy,
    Cost,
    Figures,
    measure,
)
from suites.numerics.promises.statistics import TOLERANCE_DB
from suites.numerics.trial.subject import choose_subjects
from suites.numerics.trial.trial import ViolationError
from suites.publish import Marked, Section, publish
from suites.ranks.pool import Pool

RANKS = (2, 3, 4, 8)

ROUNDS = 5

TITLES = {
    "gaussian": "Gaussian",
    "spikes:100": "Spikes: three channels 100 times as large",
    "cancellation": "Cancellation: the last rank takes back what the others sent, but for 5 % noise",
}

HOW_TO_READ = (
    "worst: the largest error over its bound, of all elements on all ranks. "
    "SQNR: signal to noise in dB, and in brackets how far that is from its prediction."
)

CAVEATS = {
    "spikes:100": "SQNR is that of the channels beside the spikes. Two-shot's prediction takes its two encodings' "
    "errors for independent, which they aren't where a sum is a few steps high.",
    "cancellation": "The prediction takes the ranks' errors for independent, which opposite messages' aren't.",
}

NOT_CAPTURED = "not captured"

GOOD, BAD, ODD = "green", "bold red", "yellow"


def sections(figures: Figures, *, cores: int | None = None) -> list[Section]:
    """What is measured, as tables.

    Args:
        figures: The measurements.
        cores: How many processes can run at once; by default this machine's.
    """
    return [
        *(_made_up(figures, data) for data in dict.fromkeys(one.data for one in figures.accuracy)),
        _real(figures),
        _costs(figures, cores or len(os.sched_getaffinity(0))),
    ]


def _subjects(measured: Sequence[Accuracy] | Sequence[Cost]) -> Iterator[tuple[str, str]]:
    yield from dict.fromkeys((one.codec, one.algorithm) for one in measured)


def _made_up(figures: Figures, data: str) -> Section:
    found = {(one.codec, one.algorithm, one.ranks): one for one in figures.accuracy if one.data == data}
    counts = sorted({ranks for _, _, ranks in found})
    return Section(
        title=TITLES.get(data, data),
        words=f"Messages of {SHAPE[0]} x {SHAPE[1]}, {figures.dtype}. {CAVEATS.get(data, '')}".strip(),
        head=["codec", "algorithm", *(name for n in counts for name in (f"N={n} worst", "SQNR"))],
        rows=[
            [
                Marked(codec),
                Marked(way),
                *(cell for n in counts for cell in (_worst([found[codec, way, n]]), _noise([found[codec, way, n]]))),
            ]
            for codec, way in _subjects(list(found.values()))
        ],
    )


def _worst(measured: Sequence[Accuracy]) -> Marked:
    worst = max(one.over_bound for one in measured)
    return Marked(f"{worst:.2f}" if worst <= 1 else f"{worst:.3g}", GOOD if worst <= 1 else BAD)


def _noise(measured: Sequence[Accuracy]) -> Marked:
    lowest = min(measured, key=lambda one: one.sqnr_db)
    off = max((one.sqnr_db - one.predicted_db for one in measured), key=abs)
    # Zero added: -0.04 is shown as +0.0.
    return Marked(f"{lowest.sqnr_db:.1f} ({round(off, 1) + 0.0:+.1f})", GOOD if abs(off) <= TOLERANCE_DB else ODD)


def _real(figures: Figures) -> Section:
    title = "Real activations: what o_proj (attention) and down_proj (ffn) gave on two ranks"
    if not figures.captured:
        return Section(
            title=title,
            words=f"{NOT_CAPTURED}: there is no {_shown(CAPTURED)}. Capture it: {CAPTURE_COMMAND}",
            head=["codec", "algorithm", *SITES],
            rows=[[Marked("all"), Marked("all"), *[Marked(NOT_CAPTURED, ODD)] * len(SITES)]],
        )
    layers = {one.layer for one in figures.real}
    found = {
        (codec, way, site): layers_measured
        for codec, way in _subjects(figures.real)
        for site in SITES
        if (
            layers_measured := [
                one for one in figures.real if (one.codec, one.algorithm, one.data) == (codec, way, site)
            ]
        )
    }
    words = (
        f"N=2 alone, as they were captured, over {len(layers)} layers: no partial sums of more ranks are made up. "
        "Each figure is the worst layer's: the largest error over its bound (and where), the lowest SQNR, and in "
        "brackets what is farthest from its prediction."
    )
    if not found:
        words = f"{NOT_CAPTURED} for these rank counts: {_shown(CAPTURED)} holds two ranks' messages."
    return Section(
        title=title,
        words=words,
        head=["codec", "algorithm", *(name for site in SITES for name in (f"{site} worst", "layer", "SQNR"))],
        rows=[
            [
                Marked(codec),
                Marked(way),
                *(cell for site in SITES for cell in _of_site(found.get((codec, way, site)))),
            ]
            for codec, way in _subjects(figures.real)
        ],
    )


def _of_site(measured: Sequence[Accuracy] | None) -> list[Marked]:
    if not measured:
        return [Marked(NOT_CAPTURED, ODD), Marked("-"), Marked("-")]
    worst = max(measured, key=lambda one: one.over_bound)
    return [_worst(measured), Marked(str(worst.layer)), _noise(measured)]


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _costs(figures: Figures, cores: int) -> Section:
    found = {(one.codec, one.algorithm, one.ranks): one for one in figures.cost}
    counts = sorted({ranks for _, _, ranks in found})
    timed = [n for n in counts if any(one.ranks == n and one.over_plain is not None for one in figures.cost)]
    words = f"bytes: what a rank sends, counted, over a {figures.dtype} ring all-reduce's."
    if timed:
        words += (
            f" time: over a plain all-reduce's, side by side in this run: {TIMED_SHAPE[0]} x {TIMED_SHAPE[1]} bf16, "
            f"gloo over loopback, one thread a rank, medians of {figures.rounds} rounds, beside whatever else this "
            "machine did. Loopback is no network: nothing is gained from fewer bytes there."
        )
    else:
        words += " No times: they are taken where nothing else runs, by `nox -s table`."
    if crowded := [f"N={n}" for n in timed if n > cores]:
        words += (
            f" {', '.join(crowded)}: more ranks than the {cores} cores, so that they wait for each other's turns."
        )
    return Section(
        title=f"Bytes{' and time' if timed else ''}, against a plain all-reduce",
        words=words,
        head=["codec", "algorithm", *(f"N={n} bytes" for n in counts), *(f"N={n} time" for n in timed)],
        rows=[
            [
                Marked(codec),
                Marked(way),
                *(_ratio(found[codec, way, n].over_ring) for n in counts),
                *(_ratio(found[codec, way, n].over_plain) for n in timed),
            ]
            for codec, way in _subjects(figures.cost)
        ],
    )


def _ratio(value: float | None) -> Marked:
    if value is None:
        return Marked("not timed", ODD)
    return Marked(f"{value:.2f}", GOOD if value < 1 else "" if value == 1 else ODD)


def report(figures: Figures, whose: str) -> Path:
    """Prints the table and writes it to reports/; returns the path of report.md."""
    title = f"# Compressed all-reduce: {whose}\n\n{HOW_TO_READ}"
    data = {"whose": whose, "shape": SHAPE, "timed_shape": TIMED_SHAPE, **asdict(figures)}
    return publish("numerics", title, data=data, sections=sections(figures))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes it; returns 1 where an error is beyond its bound, else 0."""
    parser = argparse.ArgumentParser(prog="python -m suites.numerics.table", description=__doc__)
    parser.add_argument("--impl", help="package.module:function, called as f(x, group); default: the bundled one")
    parser.add_argument("--codec", help="this one only, or what --impl claims (default for it: int8_token)")
    parser.add_argument("--algorithm", choices=ALGORITHMS, help="likewise (default for --impl: one_shot)")
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)), help="default: 2,3,4,8")
    parser.add_argument("--dtype", default="bf16", choices=DTYPES, help="of the messages (default: bf16)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is timed; 0: not at all")
    parser.add_argument("--activations", type=Path, default=CAPTURED, help=f"default: {_shown(CAPTURED)}")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.impl:
            load_implementation(chosen.impl)
        subjects = choose_subjects(chosen.impl, chosen.codec, chosen.algorithm)
        counts = [int(count) for count in chosen.ranks.split(",")]
        with Pool(counts) as pool:
            figures = measure(
                pool, subjects, counts, rounds=chosen.rounds, dtype=chosen.dtype, captured=chosen.activations
            )
    except ViolationError as violation:
        print(violation, file=sys.stderr)  # noqa: T201 - the command's own words
        return 1
    except (ValueError, TypeError, ImportError) as error:
        parser.error(str(error))
    report(figures, chosen.impl or "the bundled quant_all_reduce")
    return 1 if figures.beyond_bound else 0


if __name__ == "__main__":
    raise SystemExit(main())
