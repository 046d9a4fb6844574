"""A model of the whole: how long a compressed all-reduce takes next to a plain one, on links nobody here has.

A model, not a measurement. Its inputs:

* Kernels: measured. Between the measured sizes, and beyond them, a kernel takes a fixed time and a time a byte.
  Sixteen ranks are taken to cost per byte what eight do, decoding a single message what adding two does.
* Links: `links.LINKS`, stated by vendors or by the sources named there, or a user's own, per direction.
* Latencies: NCCL's own model of a ring with its Simple protocol, a base for each collective and a hop for each
  step (NVIDIA/nccl, `src/graph/tuning.cc`, `baseLat` and `hwLat`).
* Steps: a ring all-reduce has 2 (N - 1), an all-gather and an all-to-all N - 1. Codes and scales travel apart, as
  SGLang sends them.

What it leaves out: a plain all-reduce that adds inside the switch, NCCL's faster protocols for short
messages, kernels that overlap with messages, and the time the host needs to launch.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from harness.performance.links import Link
from harness.performance.measurements import Measurement

WIDTH = 4096
"""The width of the messages whose kernels were measured."""


class Kernels(Protocol):
    """Where kernels were measured."""

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Of whatever operations, codecs and sizes."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One rank's message, in bytes.

    Attributes:
        plain: Uncompressed.
        encoded: Compressed.
        sent: What the rank sends in all, compressed.
    """

    plain: float
    encoded: float
    sent: float


def kernel_seconds(kernels: Kernels, operation: str, ranks: int, size: float, codec: str) -> float:
    """A kernel's time for `size` bytes, on the line through the two measured sizes around it, or nearest to it.

    Raises:
        ValueError: This operation was not measured at two sizes.
    """
    known = sorted(
        (one for one in kernels.measurements if (one.operation, one.codec, one.width) == (operation, codec, WIDTH)),
        key=lambda one: one.bytes,
    )
    counts = {one.ranks for one in known}
    if not counts:
        raise ValueError(f"the run has no {operation} of {codec} at width {WIDTH}")
    nearest = min(counts, key=lambda count: abs(count - ranks))
    points = [one for one in known if one.ranks == nearest]
    if len(points) < 2:  # noqa: PLR2004 - a line takes two points
        raise ValueError(f"the run has {operation} for {nearest} ranks at one size only")
    lines = list(pairwise(points))
    small, large = next((line for line in lines if size <= line[1].bytes), lines[-1])
    return _on_line(small, large, size) * 1e-6


def _on_line(small: Measurement, large: Measurement, size: float) -> float:
    slope = (large.microseconds - small.microseconds) / (large.bytes - small.bytes)
    # A line through two measured points may meet zero bytes below what a launch takes.
    return max(small.microseconds + slope * (size - small.bytes), small.microseconds / 4)


def plain_seconds(link: Link, ranks: int, ring_bytes: float) -> float:
    """A ring all-reduce that sends so many bytes from each rank."""
    return link.base_s + 2 * (ranks - 1) * link.hop_s + ring_bytes / link.bandwidth(ranks)


def compressed_seconds(
    kernels: Kernels | None, link: Link, ranks: int, message: Message, *, algorithm: str, codec: str, parts: int = 2
) -> float:
    """A compressed all-reduce: its kernels and its messages, one after the other.

    Args:
        kernels: The measured kernels; None: the wire alone, a lower bound.
        link: What joins the ranks.
        ranks: N.
        message: Each rank's.
        algorithm: `one_shot` or `two_shot`.
        codec: By name.
        parts: Collectives for each exchange: 2 where codes and scales travel apart, 1 where they are one message.

    Raises:
        ValueError: One of the kernels was not measured at two sizes.
    """
    plain, encoded = message.plain, message.encoded
    exchanges = 1 if algorithm == "one_shot" else 2
    seconds = exchanges * parts * (link.base_s + (ranks - 1) * link.hop_s) + message.sent / link.bandwidth(ranks)
    if kernels is None:
        return seconds
    steps = [("quantize", 1, plain + encoded)]
    if algorithm == "one_shot":
        steps.append(("dequantize-sum", ranks, ranks * encoded + plain))
    else:
        steps += [
            ("sum-requantize", ranks, (ranks + 1) * encoded / ranks),
            ("dequantize-sum", 1, encoded + plain),
        ]
    return seconds + sum(kernel_seconds(kernels, step, messages, size, codec) for step, messages, size in steps)
