"""The model of the whole with its link as measured: what it predicts beside what was measured.

The model takes a link's bandwidth and latency from data sheets. Here they are those of the plain all-reduce of this
run: ``latency + bytes / bandwidth``, fitted for each rank count by itself, so that what N ranks can use of a link
need not be known. What a collective takes beyond the model's base is shared out evenly over a ring's steps. The
kernels are this run's too, so that a prediction that fails says something of the model alone: that it adds up what
overlaps, or leaves out what the host does between the steps. The bundled collective sends codes and scales as one
message.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from harness.collective import ring_bytes
from harness.performance.links import BASE_S, Link
from harness.performance.measurements import Measurement
from harness.performance.model import WIDTH
from suites.ranks.timing import PLAIN
from suites.speed.model.formulas import compressed_seconds, plain_seconds
from suites.speed.multi_gpu.times import Timed, tokens_of


@dataclass(frozen=True)
class Local:
    """Kernels as this run has measured them."""

    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A plain all-reduce's time as ``latency_s + ring bytes / bytes_per_second``.

    Attributes:
        latency_s: What an empty message would take.
        bytes_per_second: Of the bytes that a ring all-reduce sends from each rank.
        worst: Largest error of the fit, as a share of the measured time.
    """

    latency_s: float
    bytes_per_second: float
    worst: float


def fit(points: Sequence[tuple[float, float]]) -> Fit:
    """The line that is closest to measured times, by the squares of its relative errors: short messages count too.

    Neither the latency nor the time a byte is below zero.

    Args:
        points: Bytes sent, and seconds.

    Raises:
        ValueError: There are not two sizes, from which alone bandwidth and latency can be told apart.
    """
    if len({size for size, _ in points}) < 2:
        raise ValueError("a latency and a bandwidth take messages of at least two sizes")
    sizes, seconds = np.array(points).T
    # Columns of one length: bytes are a million times as large as what they are added to.
    columns = np.column_stack((1 / seconds, sizes / seconds))
    lengths = np.linalg.norm(columns, axis=0)
    latency, per_byte = (float(value) for value in nnls(columns / lengths, np.ones(len(points)))[0] / lengths)
    # Longer messages may have taken no longer: as little as a measurement can tell apart.
    per_byte = max(per_byte, 1e-18)
    worst = float(np.abs(columns @ (latency, per_byte) - 1).max())
    return Fit(latency_s=latency, bytes_per_second=1 / per_byte, worst=worst)


def fit_plain(timed: Sequence[Timed], ranks: int) -> Fit:
    """The fit to what the plain all-reduce of ``ranks`` took.

    Raises:
        ValueError: It was timed with fewer than two sizes.
    """
    return fit(
        [
            (ring_bytes((tokens_of(one.bytes), WIDTH), ranks), one.seconds)
            for one in timed
            if (one.ranks, one.contender) == (ranks, PLAIN)
        ]
    )


def measured_link(ranks: int, found: Fit) -> Link:
    """The model's link that takes as long for a plain all-reduce of ``ranks`` as the fit says."""
    beyond = max(0.0, found.latency_s - BASE_S)
    return Link(
        name=f"as measured, N = {ranks}",
        bytes_per_second=found.bytes_per_second,
        hop_s=beyond / (2 * (ranks - 1)),
        base_s=min(found.latency_s, BASE_S),
        most_ranks=ranks,
    )


def predict(one: Timed, link: Link, kernels: Local) -> float | None:
    """Seconds that the model gives for what was timed; None where a kernel was not measured at two sizes."""
    tokens = tokens_of(one.bytes)
    if one.contender == PLAIN:
        return plain_seconds(link, one.ranks, tokens)
    codec, _, algorithm = one.contender.partition("/")
    try:
        return compressed_seconds(kernels, link, one.ranks, tokens, algorithm, codec=codec, parts=1)
    except ValueError:
        return None


def fit_in_words(ranks: int, found: Fit, stated: Sequence[Link]) -> str:
    """The fit, beside the data sheets of links that it may be one of."""
    measured = f"{found.latency_s * 1e6:.1f} us and {found.bytes_per_second / 1e9:.3g} GB/s"
    sheets = [
        f"{link.name} {(link.base_s + 2 * (ranks - 1) * link.hop_s) * 1e6:.1f} us and "
        f"{link.bandwidth(ranks) / 1e9:.3g} GB/s"
        for link in stated
        if ranks <= link.most_ranks
    ]
    beside = f" The model states for {', for '.join(sheets)}." if sheets else ""
    return f"N = {ranks}: a plain all-reduce takes {measured}, to {found.worst:.0%} at worst.{beside}"
