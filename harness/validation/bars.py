"""What the simulated cells must show, and whether they do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import binom

from harness.stats import ALPHA
from harness.stats.planning import Outcomes
from harness.validation.drop_cells import DropCell, is_error
from harness.validation.other_cells import OtherCell

# Power that looking early may cost, and how many times fewer questions a clear case must need.
POWER_LOST = 0.02
TIMES_FEWER = 3.0
# Chance that a bar is called missed although every cell's true error is the stated one.
WRONGLY_MISSED = 0.01


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        name: What is asked.
        met: Whether it is met in every cell; None for what is only reported.
        worst: The worst value seen.
        limit: What it must not exceed, for the number of runs and cells.
        where: The cell it was seen in.
        cells: How many cells it was looked for in.
    """

    name: str
    met: bool | None
    worst: float
    limit: float
    where: str
    cells: int


def bars(drops: Sequence[DropCell], others: Sequence[OtherCell]) -> list[Bar]:
    """Return every bar with its worst cell."""
    stated = f"false alarms of at most {ALPHA:.0%}"
    fixed = [(rate, _words(cell, verdict)) for cell in drops for verdict, rate in _errors(cell, cell.fixed)]
    early = [(rate, _words(cell, verdict)) for cell in drops for verdict, rate in _errors(cell, cell.early)]
    beside = [
        (rate, f"{cell.kind}: {cell.what} ({verdict})")
        for cell in others
        for verdict, rate, counts in (("PASS", cell.passes, cell.false_pass), ("FAIL", cell.fails, cell.false_fail))
        if counts
    ]
    missed = [(max(cell.missed_low, cell.missed_high), _words(cell, "bounds")) for cell in drops]
    lost = [
        (_rate(cell.fixed, verdict) - _rate(cell.early, verdict), _words(cell, verdict))
        for cell in drops
        for verdict in ("PASS", "FAIL")
        if not is_error(cell.truth, verdict)
    ]
    asked = [(cell.questions, _words(cell, "either")) for cell in drops if cell.clear]
    runs = min(cell.runs for cell in drops)
    return [
        _level(f"the drop on all questions: {stated}", fixed, runs),
        _level(f"the drop with early stop: {stated}", early, runs),
        _level(f"several tasks, confident floors, flips: {stated}", beside, min(cell.runs for cell in others)),
        _limited(f"early stop costs at most {POWER_LOST * 100:g} points of power", lost, POWER_LOST),
        _limited(f"a clear case needs at most {1 / TIMES_FEWER:.1%} of the questions", asked, 1 / TIMES_FEWER),
        # The quantiles are exact at the margin, which decides; elsewhere the bounds are those of the score.
        replace(_level("beside the verdict: a bound misses the truth after an early stop", missed, runs), met=None),
    ]


def limit_of(runs: int, cells: int) -> float:
    """Return the share of errors that ALPHA does not explain in any of so many cells, but for WRONGLY_MISSED."""
    return float(binom.isf(WRONGLY_MISSED / cells, runs, ALPHA)) / runs


def _level(name: str, seen: Sequence[tuple[float, str]], runs: int) -> Bar:
    return _limited(name, seen, limit_of(runs, max(len(seen), 1)))


def _limited(name: str, seen: Sequence[tuple[float, str]], limit: float) -> Bar:
    worst, where = max(seen)
    return Bar(name=name, met=worst <= limit, worst=worst, limit=limit, where=where, cells=len(seen))


def _errors(cell: DropCell, rates: Outcomes) -> list[tuple[str, float]]:
    return [(verdict, _rate(rates, verdict)) for verdict in ("PASS", "FAIL") if is_error(cell.truth, verdict)]


def _rate(rates: Outcomes, verdict: str) -> float:
    return rates.passes if verdict == "PASS" else rates.fails


def _words(cell: DropCell, verdict: str) -> str:
    truth = cell.truth
    return (
        f"n {truth.n}, margin {truth.max_drop:.0%}, true drop {truth.true_drop * 100:g} points, "
        f"discordance {truth.discordance:.1%}, noise {truth.noise:.0%}, accuracy {truth.accuracy:g} ({verdict})"
    )
