"""A study drawn: harm against bytes with the frontier, the map of layers and sites, and sites left plain."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.sglang_plugin.policy import SITES
from harness.study.model import MeasuredPolicy, MeasuredRows, MeasuredSite, StudyReport
from harness.study.plan import PR_CODEC

# Of a colour-blind-safe palette (Okabe and Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
BUDGET = "#999999"
# KL divergences below this are drawn at it: fp32 does not tell them from 0.
SMALLEST = 1e-6


def draw(report: StudyReport, file: Path) -> None:
    """Draw a study, the same file for the same report.

    Raises:
        OSError: The file cannot be written.
    """
    codecs = list(dict.fromkeys(site.codec for site in report.sites))
    panels = 1 + len(codecs) + bool(report.rows) + bool(report.spared)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "study", "font.size": 8}):
        figure = Figure(figsize=(4.6 * panels, 3.8), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        _harm_against_bytes(axes[0], report)
        for panel, codec in zip(axes[1:], codecs, strict=False):
            _map(figure, panel, report, codec)
        if report.rows:
            _rows(axes[1 + len(codecs)], report.rows)
        if report.spared:
            _spared(axes[-1], report.spared)
        figure.savefig(file, metadata={"Date": None})


def _harm_against_bytes(axes: Axes, report: StudyReport) -> None:
    for colour, ranks in zip(COLOURS, report.ranks, strict=False):
        policies = [policy for policy in report.candidates if policy.ranks == ranks]
        for policy in policies:
            axes.plot(
                [policy.bytes_over_ring] * 2,
                [max(policy.kl.low, SMALLEST), max(policy.kl.high, SMALLEST)],
                color=colour,
                linewidth=0.8,
            )
            axes.plot(
                policy.bytes_over_ring,
                max(policy.kl.mean, SMALLEST),
                marker="s" if policy.purpose == "mix" else "o",
                color=colour,
                markersize=4,
            )
            if policy.on_frontier or policy.codec == PR_CODEC:
                axes.annotate(
                    policy.name,
                    (policy.bytes_over_ring, max(policy.kl.mean, SMALLEST)),
                    xytext=(3, 3),
                    textcoords="offset points",
                    fontsize=5,
                )
        best = sorted(
            (policy.bytes_over_ring, max(policy.kl.mean, SMALLEST)) for policy in policies if policy.on_frontier
        )
        axes.plot(*zip(*best, strict=True), color=colour, linewidth=0.6, linestyle="--", label=f"{ranks} ranks")
    axes.axhline(report.budget_kl, color=BUDGET, linewidth=0.8, label="budget")
    axes.set_yscale("log")
    axes.set_xlabel("bytes over a plain ring all-reduce")
    axes.set_ylabel("mean KL divergence, nats a token")
    axes.set_title("Harm against bytes (squares: mixes by site)")
    axes.legend(fontsize=6)


def _map(figure: Figure, axes: Axes, report: StudyReport, codec: str) -> None:
    grid = harm_map([site for site in report.sites if site.codec == codec])
    image = axes.imshow(grid, aspect="auto", norm=LogNorm(), cmap="viridis")
    axes.set_xticks(range(len(SITES)), ["attention", "FFN"])
    axes.set_ylabel("layer")
    axes.set_title(f"{codec} at one site alone")
    figure.colorbar(image, ax=axes, label="mean KL divergence")


def harm_map(sites: Sequence[MeasuredSite]) -> NDArray[np.float64]:
    """Return the harm of each site, a row a layer and a column a site; SMALLEST where nothing was measured."""
    grid = np.full((max(site.layer for site in sites) + 1, len(SITES)), SMALLEST)
    for site in sites:
        grid[site.layer, SITES.index(site.site)] = max(site.kl, SMALLEST)
    return grid


def _rows(axes: Axes, rows: list[MeasuredRows]) -> None:
    """Draw the harm of rows, by what tells them apart."""
    places = range(len(rows))
    kinds = list(dict.fromkeys(one.by for one in rows))
    colours = [COLOURS[kinds.index(one.by)] for one in rows]
    axes.barh(places, [max(one.kl.mean, SMALLEST) for one in rows], color=colours)
    axes.set_yticks(places, [one.name for one in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("mean KL divergence")
    axes.set_title(f"{PR_CODEC} in some rows alone")


def _spared(axes: Axes, spared: list[MeasuredPolicy]) -> None:
    axes.plot(range(len(spared)), [max(policy.kl.mean, SMALLEST) for policy in spared], marker="o", color=COLOURS[0])
    axes.set_xticks(range(len(spared)), [policy.name.split(", ")[1].split()[0] for policy in spared])
    axes.set_yscale("log")
    axes.set_xlabel("most harmful sites left plain")
    axes.set_ylabel("mean KL divergence")
    axes.set_title(f"{PR_CODEC} with sites spared")
