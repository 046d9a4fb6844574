"""Where the marks of the page's charts are: plain numbers in an SVG's units, drawn by `charts.html.jinja`.

They are drawn there and not by matplotlib, so that the page's style sheet gives them their colours, light, dark and
in print, and a phone's width its own size.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.judge.live_check import CheckedSums
from harness.judge.live_check_errors import Errors
from harness.judge.pairing import Pair
from harness.judge.results import FidelityReport, TaskReport
from harness.report.markdown import shifts
from harness.report.plots import margin_points

# An SVG's width and the left and right ends of its scale: small, so that text stays readable on a phone.
WIDTH, LEFT, RIGHT = 420.0, 100.0, 405.0
TICKS = 5


@dataclass(frozen=True)
class Scale:
    """A linear scale.

    Attributes:
        low: The value at `start`.
        high: The value at `end`.
        start: Where it begins, in the SVG's units.
        end: Where it ends.
    """

    low: float
    high: float
    start: float = LEFT
    end: float = RIGHT

    def at(self, value: float) -> float:
        """Return where a value is; beyond the scale, its nearer end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Round values along it."""
        rough = (self.high - self.low) / TICKS
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def scale_of(values: Iterable[float], *, start: float = LEFT, end: float = RIGHT, least: float = 1e-6) -> Scale:
    """Return a scale that shows all finite values, with some room beside them.

    Args:
        values: The values; those that are not finite are shown at the scale's ends.
        start: Where it begins.
        end: Where it ends.
        least: The least that it covers.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    room = max(max(finite) - min(finite), least) * 0.08
    return Scale(min(finite) - room, max(finite) + room, start, end)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One task: both arms on one scale, with the floor and the lowest accuracy that the margin allows.

    Attributes:
        scale: Of accuracies.
        baseline: The baseline's.
        compressed: The compressed arm's.
        low: The baseline's with the lower bound of the difference.
        high: The same with the upper one.
        deciding: Whether these bounds are those that decide.
        floor: What the compressed arm must reach; None without.
        allowed: The baseline's less the allowed drop; None without.
        again: The baseline's, started again; None where that was not run.
    """

    scale: Scale
    baseline: float
    compressed: float
    low: float
    high: float
    deciding: bool
    floor: float | None
    allowed: float | None
    again: float | None


def accuracy(task: TaskReport) -> Accuracy | None:
    """Return a task's chart; None where nothing was answered in both arms."""
    before, after = task.baseline.accuracy, task.compressed.accuracy
    if before is None or after is None:
        return None
    drop = task.tests.drop
    low, high = (drop.low, drop.high) if drop else (task.paired.delta_low, task.paired.delta_high)
    allowed = None if drop is None else before - drop.max_drop
    again = None if task.noise is None else before + task.noise.delta
    # An accuracy that cannot be is not drawn, though the bound of a difference may lead there.
    low, high = max(before + low, 0.0), min(before + high, 1.0)
    shown = [before, after, low, high, task.threshold.floor, allowed, again]
    return Accuracy(
        scale=scale_of((value for value in shown if value is not None), least=0.02),
        baseline=before,
        compressed=after,
        low=low,
        high=high,
        deciding=drop is not None,
        floor=task.threshold.floor,
        allowed=allowed,
        again=again,
    )


@dataclass(frozen=True, kw_only=True)
class Margins:
    """One task's margins, question by question, on equal scales.

    Attributes:
        across: Of the baseline's margins.
        up: Of the compressed arm's.
        groups: By what became of them: number of the question, and both margins, nats.
    """

    across: Scale
    up: Scale
    groups: dict[str, list[tuple[int, float, float]]]

    @property
    def still(self) -> Markup:
        """The questions that did not turn, as the `d` of a path."""
        return dots((self.across.at(before), self.up.at(after)) for _, before, after in self.groups["as before"])


MARGINS_TOP, MARGINS_BOTTOM = 14.0, 270.0


def margins(pairs: tuple[Pair, ...]) -> Margins | None:
    """Return a task's margins; None for generated answers."""
    groups = margin_points(pairs)
    values = [value for points in groups.values() for _, before, after in points for value in (before, after)]
    if not values:
        return None
    across = scale_of(values, start=60.0)
    return Margins(across=across, up=Scale(across.low, across.high, MARGINS_BOTTOM, MARGINS_TOP), groups=groups)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """KL divergences by position.

    Attributes:
        scale: Of KL divergences, in nats a token, from 0.
        allowed: The largest mean that is accepted; None without.
        by_itself: The baseline's against itself; None where that was not measured.
    """

    scale: Scale
    allowed: float | None
    by_itself: float | None


def predictions(fidelity: FidelityReport) -> Predictions:
    """Return the scale of the predictions' chart and its two lines."""
    allowed = fidelity.threshold.max_mean_kl if fidelity.threshold else None
    noise = fidelity.noise.overall if fidelity.noise else None
    ends = [
        value for _, shift in shifts(fidelity) for value in (shift.kl.mean, shift.kl.high, shift.kl_percentiles["99"])
    ]
    high = max((value for value in (*ends, allowed or 0.0) if math.isfinite(value)), default=0.0)
    return Predictions(
        scale=Scale(0.0, max(high, 1e-6) * 1.05), allowed=allowed, by_itself=noise.kl.mean if noise else None
    )


@dataclass(frozen=True, kw_only=True)
class NoiseMark:
    """One layer's signal to quantization noise at one site.

    Attributes:
        row: Its errors.
        served: Where the mark of what was served is.
        claimed: Where that of the claimed codec itself is.
    """

    row: Errors
    served: tuple[float, float]
    claimed: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The live check by layer.

    Attributes:
        count: Layers.
        rows: What is checked in each layer: site and kind of token.
        cells: Its errors, by row and layer.
        across: Of layers.
        noise: Of signal to quantization noise, dB, token 0 left out; None where there is no finite one.
        noisy: The lowest such ratio of all, dB.
        quiet: The highest finite one.
    """

    count: int
    rows: list[tuple[str, str]]
    cells: dict[tuple[str, str, int], Errors]
    across: Scale
    noise: Scale | None
    noisy: float
    quiet: float

    def shade(self, row: Errors) -> float:
        """Return how noisy a sum is beside the others, 0 to 1: the lowest ratio of signal to noise is 1."""
        if row.sqnr_db is None or self.quiet <= self.noisy:
            return 0.0
        return min(max((self.quiet - row.sqnr_db) / (self.quiet - self.noisy), 0.0), 1.0)

    def noise_of(self, site: str) -> list[NoiseMark]:
        """Return a site's marks by layer, token 0 left out, as far as they are finite."""
        if self.noise is None:
            return []
        marks = []
        for (at, tokens, layer), row in sorted(self.cells.items()):
            served, claimed = row.sqnr_db, row.claimed_db
            if (at, tokens) != (site, "rest") or served is None or claimed is None:
                continue
            if math.isfinite(served + claimed):
                x = self.across.at(layer + 0.5)
                marks.append(
                    NoiseMark(row=row, served=(x, self.noise.at(served)), claimed=(x, self.noise.at(claimed)))
                )
        return marks


NOISE_TOP, NOISE_BOTTOM = 14.0, 170.0


def layers(check: CheckedSums) -> Layers | None:
    """Return the live check's charts; None where no layer was checked."""
    found = [row for row in check.layers if row.layer is not None]
    if not found:
        return None
    cells = {(row.site, row.tokens, row.layer or 0): row for row in found}
    count = max(layer for _, _, layer in cells) + 1
    noise = [
        value
        for row in found
        if row.tokens == "rest"
        for value in (row.sqnr_db, row.claimed_db)
        if value is not None and math.isfinite(value)
    ]
    ratios = [row.sqnr_db for row in found if row.sqnr_db is not None and math.isfinite(row.sqnr_db)]
    return Layers(
        noisy=min(ratios, default=0.0),
        quiet=max(ratios, default=0.0),
        count=count,
        rows=list(dict.fromkeys((row.site, row.tokens) for row in found)),
        cells=cells,
        across=Scale(0.0, float(count)),
        noise=scale_of(noise, start=NOISE_BOTTOM, end=NOISE_TOP, least=1.0) if noise else None,
    )


def path(points: Sequence[tuple[float, float]]) -> Markup:
    """Return the `d` of a line through points."""
    return Markup("").join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(points))


def dots(points: Iterable[tuple[float, float]]) -> Markup:
    """Return the `d` of a path that a round line cap draws as dots: one element for any number of them."""
    return Markup("").join(f"M{x} {y}h0" for x, y in points)
