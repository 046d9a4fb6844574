"""The report drawn: accuracy, margins question by question (from the samples), predictions, the sums' errors."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from math import isfinite

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.judge.live_check_errors import Errors
from harness.judge.pairing import Pair, margin, pair
from harness.judge.results import FidelityReport, TaskReport
from harness.plan.plan import BASELINE, COMPRESSED
from harness.records.run_folder import RunFolder
from harness.report.changes import samples_of
from harness.report.model import Report

Panel = Callable[[Axes], None]

# Of a colour-blind-safe palette (Okabe and Ito, 2008).
COMPRESSED_COLOUR, NOISE_COLOUR, LOST, WON = "#0072b2", "#999999", "#d55e00", "#009e73"
PANEL_INCHES = (4.2, 3.6)


def style(salt: str) -> AbstractContextManager[None]:
    """Draw as all plots are drawn; the salt names what a file draws, whose ids are the same each time."""
    return mpl.rc_context(
        {
            # Text stays text: smaller files, and the same ones wherever they are drawn.
            "svg.fonttype": "none",
            "svg.hashsalt": salt,
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def draw(report: Report, folder: RunFolder) -> bool:
    """Draw a report, the same file for the same run.

    Args:
        report: The report.
        folder: The run's folder: the margins are drawn question by question.

    Returns:
        Whether there was anything to draw.

    Raises:
        OSError: The file cannot be written.
    """
    panels = _panels(report, folder)
    if not panels:
        return False
    width, height = PANEL_INCHES
    with style("report"):
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            panel(axes)
        figure.savefig(folder.plots, metadata={"Date": None})
    return True


def _panels(report: Report, folder: RunFolder) -> list[Panel]:
    answered = {name: task for name, task in report.tasks.items() if task.n}
    panels: list[Panel] = [partial(_accuracy, tasks=answered)] if answered else []
    for name, task in answered.items():
        if task.paired.margin_shift is not None:
            panels.append(partial(_margins, name=name, pairs=pairs_of(folder, name, task)))
    if report.fidelity is not None and report.fidelity.compressed.overall is not None:
        panels.append(partial(_predictions, fidelity=report.fidelity))
    check = report.arms[COMPRESSED].live_check if COMPRESSED in report.arms else None
    if check is not None and (rows := [row for row in check.layers if row.tokens == "rest"]):
        panels.append(partial(_sums, rows=rows, codec=check.codec))
    return panels


def pairs_of(folder: RunFolder, name: str, task: TaskReport) -> tuple[Pair, ...]:
    """Return the pairs that the report counts; none where they cannot be read."""
    return pair(*(samples_of(folder, arm, name, task) for arm in (BASELINE, COMPRESSED))).pairs


def _accuracy(axes: Axes, *, tasks: dict[str, TaskReport]) -> None:
    for row, task in enumerate(tasks.values()):
        paired, drop = task.paired, task.threshold.max_drop
        axes.plot([paired.delta_low * 100, paired.delta_high * 100], [row, row], color=COMPRESSED_COLOUR)
        axes.plot(paired.delta * 100, row, "o", color=COMPRESSED_COLOUR)
        if task.noise is not None:
            axes.plot(task.noise.delta * 100, row, "x", color=NOISE_COLOUR)
        if drop is not None:
            axes.plot([-drop * 100, -drop * 100], [row - 0.3, row + 0.3], color=LOST)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(range(len(tasks)), [f"{name}\nn = {task.n}" for name, task in tasks.items()])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set(
        title="Accuracy: change, 90 % interval (blue),\nlargest drop accepted (orange)"
        + (", by itself (grey)" if any(task.noise is not None for task in tasks.values()) else ""),
        xlabel="points, compressed less baseline",
    )


def margin_points(pairs: tuple[Pair, ...]) -> dict[str, list[tuple[int, float, float]]]:
    """Return each scored question's number and both margins, in nats, by what became of it; those that have any."""
    groups: dict[str, list[tuple[int, float, float]]] = {"as before": [], "lost": [], "won": []}
    for question in pairs:
        before, after = margin(question.baseline), margin(question.compressed)
        if before is None or after is None or not isfinite(before + after):
            continue
        changed = question.baseline.right != question.compressed.right
        kind = ("lost" if question.baseline.right else "won") if changed else "as before"
        groups[kind].append((question.baseline.doc_id, before, after))
    return groups


def _margins(axes: Axes, *, name: str, pairs: tuple[Pair, ...]) -> None:
    for (kind, points), colour in zip(margin_points(pairs).items(), (NOISE_COLOUR, LOST, WON), strict=True):
        axes.plot(
            [before for _, before, _ in points],
            [after for _, _, after in points],
            ".",
            color=colour,
            markersize=4,
            label=f"{kind}: {len(points)}",
        )
    axes.axline((0, 0), slope=1, color="black", linewidth=0.6)
    axes.axhline(0, color="black", linewidth=0.3)
    axes.axvline(0, color="black", linewidth=0.3)
    axes.set(
        title=f"{name}: logp(right) - logp(best wrong)\nof each question, on the line where nothing moved",
        xlabel="baseline, nats",
        ylabel="compressed, nats",
    )
    axes.legend(frameon=False)


def _predictions(axes: Axes, *, fidelity: FidelityReport) -> None:
    rows = list(fidelity.compressed.positions.items())
    for row, (_, shift) in enumerate(rows):
        ends = [bound for bound in (shift.kl.low, shift.kl.high) if isfinite(bound)]
        axes.plot(ends, [row] * len(ends), color=COMPRESSED_COLOUR)
        axes.plot(shift.kl.mean, row, "o", color=COMPRESSED_COLOUR)
        axes.plot(shift.kl_percentiles["99"], row, "|", color=COMPRESSED_COLOUR, markersize=9)
    if fidelity.threshold is not None and fidelity.threshold.max_mean_kl is not None:
        axes.axvline(fidelity.threshold.max_mean_kl, color=LOST)
    if fidelity.noise is not None and fidelity.noise.overall is not None:
        axes.axvline(fidelity.noise.overall.kl.mean, color=NOISE_COLOUR, linestyle="--")
    axes.set_yticks(range(len(rows)), [f"{name}\nn = {shift.predictions}" for name, shift in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set(
        title="Fixed text: mean KL divergence, 90 % interval,\n99th percentile (bar)"
        + (", by itself (grey)" if fidelity.noise is not None and fidelity.noise.overall is not None else ""),
        xlabel="nats a token",
    )


def _sums(axes: Axes, *, rows: list[Errors], codec: str) -> None:
    for site, colour in (("attention", COMPRESSED_COLOUR), ("ffn", LOST)):
        of_site = [numbers for row in rows if row.site == site and (numbers := _numbers(row))]
        layers, served, claimed = zip(*sorted(of_site), strict=True) if of_site else ((), (), ())
        axes.plot(layers, claimed, color=colour, linewidth=0.8)
        axes.plot(layers, served, ".", color=colour, label=site)
    axes.set(
        title=f"Live check: what was served (dots),\n{codec} itself on the same inputs (lines)",
        xlabel="layer",
        ylabel="signal to quantization noise, dB",
    )
    axes.legend(frameon=False)


def _numbers(errors: Errors) -> tuple[int, float, float] | None:
    """Return a layer and its two ratios; None where there is no ratio, for want of noise or of signal."""
    if (
        errors.layer is None
        or errors.sqnr_db is None
        or errors.claimed_db is None
        or not isfinite(errors.sqnr_db + errors.claimed_db)
    ):
        return None
    return errors.layer, errors.sqnr_db, errors.claimed_db
