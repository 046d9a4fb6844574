"""The plots of docs/cuda.md, drawn from what ``bench --device cuda`` measured. Needs matplotlib."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.collective.candidate import ALGORITHMS
from harness.performance.links import LINKS
from harness.performance.measurements import Measurement, Run
from suites.speed.model.formulas import RANKS, SIZES, ratio

HADAMARD_OPERATIONS = 8
"""An element's seven additions and one multiplication."""
QUANTIZE_OPERATIONS = 7
"""An element's comparison, product, two fused multiply-adds counted double, and addition."""


def draw(run: Run, folder: Path) -> None:
    """Writes ``roofline.svg`` and ``model.svg``."""
    # Text stays text: smaller files, and the same ones wherever they are drawn.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tp-compression-harness", "font.size": 8}):
        for name, figure in (("roofline", roofline(run)), ("model", model(run))):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def operations(one: Measurement) -> float:
    """fp32 operations that a measured kernel does for its codec's arithmetic."""
    rotation = HADAMARD_OPERATIONS if one.codec == "int8_hadamard" else 0
    adding = one.ranks * 2 - 1
    of_each = {
        "quantize": rotation + QUANTIZE_OPERATIONS,
        "dequantize-sum": adding + rotation,
        "sum-requantize": adding + QUANTIZE_OPERATIONS,
    }
    return float(of_each[one.operation] * one.tokens * one.width)


def roofline(run: Run) -> Figure:
    """Operations a second over operations a byte, below the two measured ceilings, at 8192 x 4096."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    intensities = [0.5, run.fp32_per_second / run.copy_bytes_per_second, 100]
    axes.plot(
        intensities,
        [min(x * run.copy_bytes_per_second, run.fp32_per_second) / 1e12 for x in intensities],
        color="black",
        label=f"copy {run.copy_bytes_per_second / 1e12:.2f} TB/s, fp32 {run.fp32_per_second / 1e12:.0f} TFLOP/s",
    )
    shown = [one for one in run.measurements if (one.tokens, one.width, one.backend) == (8192, 4096, "cuda")]
    marks = dict(zip(("quantize", "dequantize-sum", "sum-requantize"), "osv", strict=True))
    codecs = list(dict.fromkeys(one.codec for one in shown))
    for operation, mark in marks.items():
        for number, codec in enumerate(codecs):
            points = [one for one in shown if (one.operation, one.codec) == (operation, codec)]
            axes.plot(
                [operations(one) / one.bytes for one in points],
                [operations(one) / one.microseconds * 1e-6 for one in points],
                mark,
                color=f"C{number}",
                markersize=5,
                label=codec if operation == "quantize" else None,
            )
    axes.set(xscale="log", yscale="log", xlabel="fp32 operations a byte", ylabel="TFLOP/s")
    axes.set_title(
        f"{run.device}: o quantize, squares dequantize-sum, triangles sum-requantize; 8192 x 4096 bf16", size=9
    )
    axes.legend(loc="lower right")
    axes.grid(visible=True, alpha=0.3)
    return figure


def model(run: Run) -> Figure:
    """Compressed over plain time by message size, a panel for each link."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, len(LINKS), sharey=True)
    for axes, link in zip(panels, LINKS, strict=True):
        for number, ranks in enumerate(count for count in RANKS if count <= link.most_ranks):
            for algorithm, style in zip(ALGORITHMS, ("--", "-"), strict=True):
                axes.plot(
                    [size / (1 << 20) for size in SIZES],
                    [ratio(run, link, ranks, size, algorithm) for size in SIZES],
                    style,
                    color=f"C{number}",
                    label=f"N = {ranks}" if style == "-" else None,
                )
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="message, MiB of bf16", title=link.name)
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    panels[0].minorticks_off()
    panels[0].set_ylabel("compressed over plain time (model)")
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right upper", title="solid two-shot\ndashed one-shot")
    return figure
