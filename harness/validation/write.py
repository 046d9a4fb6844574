"""The published table and plot of the validation."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.stats import ALPHA
from harness.stats.planning import Outcomes
from harness.validation.bars import Bar
from harness.validation.drop_cells import DropCell, is_error
from harness.validation.other_cells import OtherCell
from harness.validation.truth import CLEAR

MET = {True: "yes", False: "**no**", None: "reported"}


@dataclass(frozen=True, kw_only=True)
class Validation:
    """All results.

    Attributes:
        date: When, as YYYY-MM-DD.
        seed: Of the random numbers.
        seconds: How long it took.
        bars: What had to be shown.
        drops: The drop's cells.
        others: The others.
    """

    date: str
    seed: int
    seconds: float
    bars: Sequence[Bar]
    drops: Sequence[DropCell]
    others: Sequence[OtherCell]


def write(validation: Validation, folder: Path, name: str) -> Path:
    """Write JSON, Markdown and plot, and return the Markdown's place.

    Args:
        validation: The results.
        folder: Where to.
        name: The files' name, without an ending.

    Raises:
        OSError: They cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, plot_file = folder / f"{name}.md", folder / f"{name}.svg"
    (folder / f"{name}.json").write_text(json.dumps(asdict(validation), indent=1) + "\n", encoding="utf-8")
    page.write_text(markdown(validation, plot_file.name), encoding="utf-8")
    plot(validation.drops, plot_file)
    return page


PAGE = """\
# How often the verdicts err

Simulated on {date}: {drops} cells of {runs:,} runs for the drop, {others} of {fewest:,} to {most:,} for the rest,
seed {seed}, {seconds:.0f} s. `nox -s validate -- --out docs` makes this page again.

{verdict}

{bars}

The limit of a false-alarm rate is what {alpha:.0%} gives by luck in the worst of so many cells of so many runs
(99 %). Power lost is the fixed-size test's less that with early stop, on the same answers. A case is clear where the
score on all questions lies {clear:g} or more standard deviations from 0 on average: an identical model at 1,314
questions and 5 points or at 3,270 and 2 points, a drop of twice the margin there. With 200 questions and 5 points
none here is: even if no answer changed, 59 questions are the fewest that any test can pass on. The verdicts' errors
are held at the margin, where they are decided. The bounds shown beside them are score bounds, which miss a truth away
from the margin more often where few answers change; the last row says how often.

![False alarms, power and questions asked]({plot})

## The drop

A cell's answers are drawn with its true drop and its discordance (share of questions that compression turns), and
each arm's with its noise (share on which two runs of one arm differ, which leaves the accuracy). P, F and I: PASS,
FAIL and INCONCLUSIVE in percent of the runs; in brackets, where it is an error. *Interval alone*: Tango's score
interval at its normal quantile. *Score*: its mean at the margin on all questions. Averages over accuracies 0.35 and
0.85; each cell by itself is in the JSON file of the run.

{drop_table}

## The other verdicts

The point rule of a floor states no error: at the floor itself it is a coin. Flips, several tasks and pooled ones are
at exactly what is accepted, where both verdicts are errors. *Baseline at chance*: PASS says that the task may judge.
*Baseline again*: FAIL says that the baseline is called no measure of compression, since a second start differs from
it; a shift that is too small to be seen there still makes errors of the verdicts, more the more questions there are.

Predictions of fixed text: the mean over all tokens, whole texts drawn, the limit exactly at the truth. What 64 texts
cannot show is shown: where one text in thirty diverges twenty times as far, 64 texts have none of these in 11 % of
runs, and nothing that is computed of them knows of it; the worst text's limit is there for the other 89 %.
*Log-likelihood drop, no harm*: PASS is power.

*Nights*: the memory's CUSUM ([history.md](history.md)), F is an alarm. Without harm it is a share of nights, else of
runs of 20 good nights and those after the change. Where nights are alike, one change of software is one draw, however
many nights follow: what turns beside the harm then hides it for good.

{other_table}
"""


def markdown(validation: Validation, plot_name: str) -> str:
    """Return the page, with the plot beside it."""
    drops, others = validation.drops, validation.others
    missed = [bar.name for bar in validation.bars if bar.met is False]
    return PAGE.format(
        date=validation.date,
        drops=len(drops),
        runs=drops[0].runs,
        others=len(others),
        fewest=min(cell.runs for cell in others),
        most=max(cell.runs for cell in others),
        seed=validation.seed,
        seconds=validation.seconds,
        verdict=f"**Not met: {'; '.join(missed)}.**" if missed else "All bars are met.",
        alpha=ALPHA,
        clear=CLEAR,
        plot=plot_name,
        bars=_table(
            ("bar", "met", "worst seen", "limit", "cells", "worst cell"),
            (
                (bar.name, MET[bar.met], f"{bar.worst:.2%}", f"{bar.limit:.2%}", bar.cells, bar.where)
                for bar in validation.bars
            ),
        ),
        drop_table=_drop_table(drops),
        other_table=_table(
            ("rule", "cell", "P", "F", "I"),
            (
                (
                    cell.kind,
                    cell.what,
                    _percent(cell.passes, error=cell.false_pass),
                    _percent(cell.fails, error=cell.false_fail),
                    _percent(cell.inconclusive),
                )
                for cell in others
            ),
        ),
    )


def _drop_table(cells: Sequence[DropCell]) -> str:
    together: dict[tuple[float, ...], list[DropCell]] = {}
    for cell in cells:
        truth = cell.truth
        key = (truth.n, truth.max_drop, truth.noise, truth.discordance, truth.true_drop)
        together.setdefault(key, []).append(cell)
    head = ("n", "margin", "noise %", "discordance %", "true drop", "score", "interval alone P / F / I")
    return _table((*head, "all questions P / F / I", "early stop P / F / I", "asked"), map(_row, together.values()))


def _row(alike: Sequence[DropCell]) -> tuple[object, ...]:
    """Return the averages of cells that differ in the accuracy alone."""
    truth = alike[0].truth

    def verdicts(rates: Sequence[Outcomes]) -> str:
        passes, fails = fmean(rate.passes for rate in rates), fmean(rate.fails for rate in rates)
        open_ = fmean(rate.inconclusive for rate in rates)
        false_pass, false_fail = is_error(truth, "PASS"), is_error(truth, "FAIL")
        return f"{_percent(passes, error=false_pass)} / {_percent(fails, error=false_fail)} / {_percent(open_)}"

    return (
        truth.n,
        *(f"{share * 100:g}" for share in (truth.max_drop, truth.noise, truth.discordance, truth.true_drop)),
        f"{fmean(cell.drift for cell in alike):+.1f}",
        verdicts([cell.score_alone for cell in alike]),
        verdicts([cell.fixed for cell in alike]),
        verdicts([cell.early for cell in alike]),
        f"{fmean(cell.questions for cell in alike):.0%}",
    )


def _table(head: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _percent(share: float, *, error: bool = False) -> str:
    return f"({share * 100:.2f})" if error else f"{share * 100:.1f}"


def plot(cells: Sequence[DropCell], file: Path) -> None:
    """Draw false alarms, power and questions asked, the same file for the same cells."""
    with mpl.rc_context(
        {"svg.hashsalt": "validation", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(13, 4), layout="constrained")
        alarms, power, asked = figure.subplots(1, 3)
        _plot_alarms(alarms, cells)
        _plot_power(power, cells)
        _plot_asked(asked, cells)
        figure.savefig(file, metadata={"Date": None})


def _plot_alarms(axes: Axes, cells: Sequence[DropCell]) -> None:
    at_margin = [cell for cell in cells if cell.truth.true_drop == cell.truth.max_drop]
    for name, words in (("score_alone", "interval alone"), ("fixed", "all questions"), ("early", "early stop")):
        rates = sorted(rate for cell in at_margin for rate in (getattr(cell, name).passes, getattr(cell, name).fails))
        axes.plot(range(len(rates)), [rate * 100 for rate in rates], ".", markersize=3, label=words)
    axes.axhline(ALPHA * 100, color="black", linewidth=0.8)
    axes.set(
        title="False alarms, true drop at the margin", xlabel="cells, sorted (PASS and FAIL)", ylabel="% of runs"
    )
    axes.legend(frameon=False)


def _plot_power(axes: Axes, cells: Sequence[DropCell]) -> None:
    pairs = [
        (getattr(cell.fixed, name), getattr(cell.early, name))
        for cell in cells
        for verdict, name in (("PASS", "passes"), ("FAIL", "fails"))
        if not is_error(cell.truth, verdict)
    ]
    axes.plot(
        [fixed * 100 for fixed, _ in pairs], [(early - fixed) * 100 for fixed, early in pairs], ".", markersize=3
    )
    axes.axhline(-2, color="black", linewidth=0.8)
    axes.set(title="Power that early stop costs", xlabel="power on all questions, %", ylabel="points of power")


def _plot_asked(axes: Axes, cells: Sequence[DropCell]) -> None:
    for n in sorted({cell.truth.n for cell in cells}):
        of_n = [cell for cell in cells if cell.truth.n == n]
        axes.plot(
            [cell.drift for cell in of_n],
            [cell.questions * 100 for cell in of_n],
            ".",
            markersize=3,
            label=f"n = {n}",
        )
    axes.axhline(100 / 3, color="black", linewidth=0.8)
    axes.set(title="Questions asked with early stop", xlabel="mean score at the margin, on all questions", ylabel="%")
    axes.legend(frameon=False)
