"""What a study measures of one policy, and its file form: one line of JSON a policy."""

from pathlib import Path
from typing import Any

from harness.records.predictions import TextPredictions
from harness.records.run import read_lines, write_lines
from harness.records.samples import Sample
from harness.strict import Strict
from harness.study.folder import MEASURED


class Traffic(Strict):
    """What one of the N ranks would send for all prefills that were measured, in bytes of a 16-bit model.

    Attributes:
        compressed: For sums that the policy compresses.
        plain: For those it leaves plain, by a ring all-reduce.
        ring: What a ring all-reduce would send for all of them.
        sums: How many sums there were.
        tokens: How many tokens were prefilled.
        prefills: In how many forward passes.
    """

    compressed: int
    plain: int
    ring: float
    sums: int
    tokens: int
    prefills: int

    @property
    def over_ring(self) -> float:
        """Bytes over those of a plain ring all-reduce."""
        return (self.compressed + self.plain) / self.ring if self.ring else 0.0


class Measured(Strict):
    """One policy, measured.

    Attributes:
        purpose: `noise`, `again` (the noise of the answers), `candidate`, `site`, `rows`, `spared` or `mix`.
        name: What people call it.
        ranks: Virtual ranks.
        rules: The policy's rules, as policy.yaml has them.
        texts: Its predictions.
        traffic: What a rank would send.
        samples: Its answers to the scored task; empty where none was asked.
        seconds: How long it took.
        dropped: Why it was not measured on all texts; empty where it was.
    """

    purpose: str
    name: str
    ranks: int
    rules: list[dict[str, Any]]
    texts: list[TextPredictions]
    traffic: Traffic
    samples: list[Sample]
    seconds: float
    dropped: str = ""


def add_measured(folder: Path, measured: Measured) -> None:
    """Add a line to the measurements of a server.

    Raises:
        OSError: It cannot be written.
    """
    write_lines(folder / MEASURED, [measured])


def read_measured(folder: Path) -> list[Measured]:
    """Read the measurements of a server; of a policy that stands twice the later one.

    Raises:
        HarnessError: The file is missing, or a line is none.
    """
    lines = read_lines(folder / MEASURED, Measured, "a measured policy")
    return list({(line.purpose, line.name): line for line in lines}.values())
