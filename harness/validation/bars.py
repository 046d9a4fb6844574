"""What the simulated cells must show, and whether they do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import binom, poisson

from harness.judge.baseline import AGAIN_ALPHA
from harness.stats import ALPHA
from harness.stats.cusum import NIGHTS
from harness.stats.planning import Outcomes
from harness.validation.drop_cells import DropCell, is_error
from harness.validation.night_cells import CRIES, REPEATS, SEES, SEES_REPEATED, SOON
from harness.validation.other_cells import OtherCell
from harness.validation.prediction_cells import TEXTS, UNKNOWABLE
from harness.validation.task_cells import COIN, NPU_FAIL, NPU_PASS, of_kind, stated_errors

# Power that looking early may cost, and how many times fewer questions a clear case must need.
POWER_LOST = 0.02
TIMES_FEWER = 3.0
# What the suites on NPUs are for: 4 % of the questions turn.
NPU_UNDECIDED = 0.05
NPU_MISSED = 0.10
COIN_PASSES = 0.001
# Nights from one false alarm of the memory to the next, at the least; NIGHTS is what is aimed at.
FEWEST_NIGHTS = 370
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
        _level(f"confident floors, flips: {stated}", beside, min(cell.runs for cell in others)),
        _limited(f"early stop costs at most {POWER_LOST * 100:g} points of power", lost, POWER_LOST),
        _limited(f"a clear case needs at most {1 / TIMES_FEWER:.1%} of the questions", asked, 1 / TIMES_FEWER),
        # The quantiles are exact at the margin, which decides; elsewhere the bounds are those of the score.
        replace(_level("beside the verdict: a bound misses the truth after an early stop", missed, runs), met=None),
    ]


def task_bars(cells: Sequence[OtherCell]) -> list[Bar]:
    """Return the bars of `simulate_tasks`."""
    stated: dict[float, list[tuple[float, str]]] = {}
    for cell in cells:
        errors = (("PASS", cell.passes, cell.false_pass), ("FAIL", cell.fails, cell.false_fail))
        for verdict, rate, counts in errors:
            if counts:
                alpha = stated_errors().get(cell.kind, ALPHA)
                stated.setdefault(alpha, []).append((rate, f"{cell.kind}: {cell.what} ({verdict})"))
    runs = min(cell.runs for cell in cells)
    coins = [(cell.passes, cell.what) for cell in of_kind(cells, COIN)]
    harmless = [(1 - cell.passes, cell.what) for cell in of_kind(cells, NPU_PASS)]
    harmful = [(1 - cell.fails, cell.what) for cell in of_kind(cells, NPU_FAIL)]
    return [
        _level(
            "all gates at once, pooled, unlike questions, drifts, clusters, baselines at chance: false alarms of at "
            f"most {ALPHA:.0%}",
            stated[ALPHA],
            runs,
        ),
        _level(
            f"a sound baseline, started again, is called unsteady in at most {AGAIN_ALPHA:.0%}",
            stated[AGAIN_ALPHA],
            runs,
            AGAIN_ALPHA,
        ),
        _limited("an arm that answers by a coin passes never (0.1%)", coins, COIN_PASSES),
        _limited("suites on NPUs: harmless compression does not PASS", harmless, NPU_UNDECIDED),
        _limited("suites on NPUs: a drop of 2 points does not FAIL", harmful, NPU_MISSED),
    ]


def prediction_bars(cells: Sequence[OtherCell]) -> list[Bar]:
    """Return the bars of `simulate_predictions`."""
    errors = [
        (rate, f"{cell.kind}: {cell.what} ({verdict})")
        for cell in cells
        for verdict, rate, counts in (("PASS", cell.passes, cell.false_pass), ("FAIL", cell.fails, cell.false_fail))
        if counts
    ]
    unknowable = [(cell.passes, f"{cell.what} (PASS)") for cell in of_kind(cells, UNKNOWABLE)]
    runs = min(cell.runs for cell in cells)
    return [
        _level(f"predictions of {TEXTS[0]} fixed texts and more: false alarms of at most {ALPHA:.0%}", errors, runs),
        # What no number of texts of this order shows; the worst text's limit is there for it.
        replace(_level("the same with tails that so few texts do not show", unknowable, runs), met=None),
    ]


def night_bars(cells: Sequence[OtherCell]) -> list[Bar]:
    """Return the bars of `simulate_nights`."""
    of = {kind: of_kind(cells, kind) for kind in (CRIES, SEES, REPEATS, SEES_REPEATED)}
    nights = min(cell.runs for cell in of[CRIES])
    cries = float(poisson.isf(WRONGLY_MISSED / len(of[CRIES]), nights / FEWEST_NIGHTS)) / nights
    changes = [(cell.fails, cell.what) for cell in of[REPEATS]]
    return [
        _limited(
            f"nights: a false alarm of a chart once in about {NIGHTS} nights, {FEWEST_NIGHTS} at worst",
            [(cell.fails, cell.what) for cell in of[CRIES]],
            cries,
        ),
        _level(
            f"nights alike but for a harmless change: a false alarm in at most one of {NIGHTS}",
            changes,
            min(cell.runs for cell in of[REPEATS]),
            1 / NIGHTS,
        ),
        _limited(
            f"nights: 2 points lost of 1,314 questions are not found within {SOON} nights",
            [(1 - cell.fails, cell.what) for cell in of[SEES]],
            # The median.
            0.5,
        ),
        replace(
            _limited(
                "nights alike but for a change that costs 2 points: not found",
                [(1 - cell.fails, cell.what) for cell in of[SEES_REPEATED]],
                1.0,
            ),
            met=None,
        ),
    ]


def limit_of(runs: int, cells: int, alpha: float = ALPHA) -> float:
    """Return the share of errors that `alpha` does not explain in any of so many cells, but for WRONGLY_MISSED."""
    return float(binom.isf(WRONGLY_MISSED / cells, runs, alpha)) / runs


def _level(name: str, seen: Sequence[tuple[float, str]], runs: int, alpha: float = ALPHA) -> Bar:
    return _limited(name, seen, limit_of(runs, max(len(seen), 1), alpha))


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
