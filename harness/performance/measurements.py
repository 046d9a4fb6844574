"""Times of kernels that a GPU has shown (`nox -s bench -- --device cuda`), and the file they are kept in."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One operation's time and the bytes it has to move."""

    operation: str
    """``quantize``, ``dequantize-sum`` or ``sum-requantize``."""
    codec: str
    backend: str
    ranks: int
    """Messages that are added; 1 for quantize."""
    tokens: int
    width: int
    microseconds: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a run has measured. ``docs/measurements`` holds such files."""

    device: str
    torch: str
    triton: str
    date: str
    copies: dict[int, float]
    """Microseconds of copies, by bytes read and written together."""
    launch_microseconds: float
    """An empty kernel in a graph."""
    fp32_per_second: float
    """Fused multiply-adds count two."""
    measurements: tuple[Measurement, ...]

    @property
    def copy_bytes_per_second(self) -> float:
        """The fastest copy's."""
        return max(size / time for size, time in self.copies.items()) * 1e6


def to_json(run: Run) -> str:
    """The run as ``from_json`` reads it."""
    return json.dumps(asdict(run), indent=1)


def from_json(text: str) -> Run:
    """Reads what ``to_json`` wrote."""
    fields = json.loads(text)
    measurements = tuple(Measurement(**one) for one in fields.pop("measurements"))
    copies = {int(size): time for size, time in fields.pop("copies").items()}
    return Run(**fields, copies=copies, measurements=measurements)
