"""Links between ranks, as vendors state them, or as a user does."""

import math
from dataclasses import dataclass

MOST_RANKS = 16
BASE_S = 8.4e-6
"""A collective's base in NCCL's own model of a ring with its Simple protocol (NVIDIA/nccl, `src/graph/tuning.cc`)."""
HOP_S = 5.7e-6
"""A hop's there, over PCIe."""


class UnknownLinkError(ValueError):
    """A link is named that is none; the message says which there are."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """What joins the ranks.

    Attributes:
        name: What people call it.
        bytes_per_second: One rank to all others, in one direction.
        hop_s: Seconds that each step of a collective takes beside its bytes.
        per_peer: The part of the bandwidth that leads to one other rank, where ranks are joined in pairs.
        most_ranks: How many ranks it joins.
        base_s: Seconds that each collective takes, whatever it sends and to how many.
    """

    name: str
    bytes_per_second: float
    hop_s: float
    per_peer: float = math.inf
    most_ranks: int = MOST_RANKS
    base_s: float = BASE_S

    def bandwidth(self, ranks: int) -> float:
        """Return what `ranks` ranks can use of it, in bytes a second."""
        return min(self.bytes_per_second, self.per_peer * (ranks - 1))


LINKS = (
    # 900 GB/s in both directions: NVIDIA's H100 and H200 datasheets. 16 ranks need an NVLink switch system.
    Link(name="NVLink 4", bytes_per_second=450e9, hop_s=3.4e-6),
    # 32 GT/s times 16 lanes, 128b/130b: PCI Express Base Specification 5.0.
    Link(name="PCIe 5.0 x16", bytes_per_second=63e9, hop_s=HOP_S),
    # 392 GB/s in both directions over seven links, a full mesh of 8: public notes on the Ascend 910B (such as
    # arthurchiao.art's "GPU notes"); no document of Huawei's was found. The hop is NCCL's for PCIe.
    Link(name="HCCS, Ascend 910B", bytes_per_second=196e9, per_peer=28e9, hop_s=HOP_S, most_ranks=8),
)
# What people may say for them on a command line.
NAMES = {"nvlink4": LINKS[0], "pcie5": LINKS[1], "hccs": LINKS[2]}


def find_link(text: str) -> Link:
    """Return a link by its name, or the one of so many GB/s: `nvlink4`, `pcie5`, `hccs`, `25GB/s`, `25GB/s,10us`.

    A user's own has its bandwidth from one rank to all others, in one direction, and the time of a hop; without the
    latter NCCL's for PCIe.

    Raises:
        UnknownLinkError: It is neither.
    """
    if (known := NAMES.get(text.strip().lower())) is not None:
        return known
    bandwidth, comma, hop = text.replace(" ", "").partition(",")
    try:
        gigabytes = _number(bandwidth, "GB/s")
        hop_s = _number(hop, "us") * 1e-6 if comma else HOP_S
    except ValueError:
        raise UnknownLinkError(
            f"no link is named {text!r}: there are {', '.join(NAMES)}, or say its bandwidth from one rank to all "
            "others and the time of a hop, such as 25GB/s or 25GB/s,10us"
        ) from None
    return Link(name=text.strip(), bytes_per_second=gigabytes * 1e9, hop_s=hop_s, most_ranks=64)


def _number(text: str, unit: str) -> float:
    if not text.lower().endswith(unit.lower()):
        raise ValueError(text)
    number = float(text[: -len(unit)])
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number
