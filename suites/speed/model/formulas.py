"""A model of the whole: how long a compressed all-reduce takes next to a plain one, on links nobody here has.

A model, not a measurement. Its inputs:

* Kernels: measured. Between the measured sizes, and beyond them, a kernel takes a fixed time and a time a byte.
  Sixteen ranks are taken to cost per byte what eight do, decoding a single message what adding two does.
* Links: ``LINKS``, stated by vendors or by the sources named there, per direction.
* Latencies: NCCL's own model of a ring with its Simple protocol, a base for each collective and a hop for each
  step (NVIDIA/nccl, ``src/graph/tuning.cc``, ``baseLat`` and ``hwLat``), for all links.
* Steps: a ring all-reduce has 2 (N - 1), an all-gather and an all-to-all N - 1. Codes and scales travel apart, as
  SGLang sends them.

What it leaves out: a plain all-reduce that adds inside the switch, NCCL's faster protocols for short
messages, kernels that overlap with messages, and the time the host needs to launch. ``multi_gpu.link`` puts a link
in that was measured.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from harness.collective import get_codec, ring_bytes, wire_bytes
from suites.speed.measurements import Measurement, Run

WIDTH = 4096
SIZES = tuple(1 << power for power in range(16, 31))
"""Bytes of the bf16 message: 64 KiB to 1 GiB."""
RANKS = (2, 4, 8, 16)
CODEC = "int8_token"
BASE_S = 8.4e-6


@dataclass(frozen=True, kw_only=True)
class Link:
    """What joins the ranks."""

    name: str
    bytes_per_second: float
    """One rank to all others, in one direction."""
    hop_s: float
    per_peer: float = math.inf
    """The part of it that leads to one other rank, where ranks are joined in pairs."""
    most_ranks: int = max(RANKS)
    base_s: float = BASE_S
    """What each collective takes, whatever it sends and to how many."""

    def bandwidth(self, ranks: int) -> float:
        """What ``ranks`` can use of it."""
        return min(self.bytes_per_second, self.per_peer * (ranks - 1))


LINKS = (
    # 900 GB/s in both directions: NVIDIA's H100 and H200 datasheets. 16 ranks need an NVLink switch system.
    Link(name="NVLink 4", bytes_per_second=450e9, hop_s=3.4e-6),
    # 32 GT/s times 16 lanes, 128b/130b: PCI Express Base Specification 5.0.
    Link(name="PCIe 5.0 x16", bytes_per_second=63e9, hop_s=5.7e-6),
    # 392 GB/s in both directions over seven links, a full mesh of 8: public notes on the Ascend 910B (such as
    # arthurchiao.art's "GPU notes"); no document of Huawei's was found. The hop is NCCL's for PCIe.
    Link(name="HCCS, Ascend 910B", bytes_per_second=196e9, per_peer=28e9, hop_s=5.7e-6, most_ranks=8),
)


class Kernels(Protocol):
    """Where kernels were measured."""

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Of whatever operations, codecs and sizes."""


def kernel_seconds(run: Kernels, operation: str, ranks: int, size: float, codec: str = CODEC) -> float:
    """A kernel's time for ``size`` bytes, on the line through the two measured sizes around it, or nearest to it.

    Raises:
        ValueError: The run has not measured this operation at two sizes.
    """
    known = sorted(
        (one for one in run.measurements if (one.operation, one.codec, one.width) == (operation, codec, WIDTH)),
        key=lambda one: one.bytes,
    )
    counts = {one.ranks for one in known}
    if not counts:
        raise ValueError(f"the run has no {operation} of {codec} at width {WIDTH}")
    nearest = min(counts, key=lambda count: abs(count - ranks))
    points = [one for one in known if one.ranks == nearest]
    if len(points) < 2:
        raise ValueError(f"the run has {operation} for {nearest} ranks at one size only")
    lines = list(pairwise(points))
    small, large = next((line for line in lines if size <= line[1].bytes), lines[-1])
    return _on_line(small, large, size) * 1e-6


def _on_line(small: Measurement, large: Measurement, size: float) -> float:
    slope = (large.microseconds - small.microseconds) / (large.bytes - small.bytes)
    # A line through two measured points may meet zero bytes below what a launch takes.
    return max(small.microseconds + slope * (size - small.bytes), small.microseconds / 4)


def plain_seconds(link: Link, ranks: int, tokens: int) -> float:
    """A ring all-reduce of bf16."""
    return link.base_s + 2 * (ranks - 1) * link.hop_s + ring_bytes((tokens, WIDTH), ranks) / link.bandwidth(ranks)


def compressed_seconds(
    run: Kernels, link: Link, ranks: int, tokens: int, algorithm: str, *, codec: str = CODEC, parts: int = 2
) -> float:
    """A compressed all-reduce: its kernels and its messages, one after the other.

    Args:
        run: The measured kernels.
        link: What joins the ranks.
        ranks: N.
        tokens: Rows of each rank's message, ``WIDTH`` wide.
        algorithm: ``one_shot`` or ``two_shot``.
        codec: By name.
        parts: Collectives for each exchange: 2 where codes and scales travel apart, 1 where they are one message.

    Raises:
        ValueError: The run has not measured one of the kernels at two sizes.
    """
    row = get_codec(codec).row_bytes(WIDTH, torch.bfloat16)
    plain, encoded = 2.0 * tokens * WIDTH, float(tokens * row)
    sent = wire_bytes((tokens, WIDTH), ranks, codec=codec, algorithm=algorithm) / link.bandwidth(ranks)
    exchange = parts * (link.base_s + (ranks - 1) * link.hop_s)
    quantize = kernel_seconds(run, "quantize", 1, plain + encoded, codec)
    if algorithm == "one_shot":
        total = kernel_seconds(run, "dequantize-sum", ranks, ranks * encoded + plain, codec)
        return quantize + exchange + sent + total
    stripe = kernel_seconds(run, "sum-requantize", ranks, (ranks + 1) * encoded / ranks, codec)
    decode = kernel_seconds(run, "dequantize-sum", 1, encoded + plain, codec)
    return quantize + 2 * exchange + sent + stripe + decode


def ratio(run: Run, link: Link, ranks: int, size: int, algorithm: str) -> float:
    """Compressed over plain: below 1 compression pays."""
    tokens = size // (2 * WIDTH)
    return compressed_seconds(run, link, ranks, tokens, algorithm) / plain_seconds(link, ranks, tokens)


def pays_from(run: Run, link: Link, ranks: int, algorithm: str) -> int | None:
    """The smallest of ``SIZES`` from which on compression pays for all larger ones too; None if it never does."""
    first = None
    for size in reversed(SIZES):
        if ratio(run, link, ranks, size, algorithm) >= 1:
            break
        first = size
    return first
