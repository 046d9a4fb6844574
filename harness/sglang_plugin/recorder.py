"""One rank's log of its forward passes: a line of JSON for each, with what it compressed.

The log is only written here and only judged in harness.judge.engagement, so that the proof can be looked at
again later. A line is one `write` of a file opened for appending: whatever kills the server, the lines of
the passes that ended are there.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

OUTSIDE = "OUTSIDE"


@dataclass
class Counts:
    """What one site compressed in one forward pass.

    Attributes:
        calls: Calls of `GroupCoordinator.quant_all_reduce`.
        quantized: Those of them in which a quantization really ran: SGLang falls back to a plain
            all-reduce, in silence, where the NPU's kernel cannot be imported.
        elements: Elements of the tensors reduced.
        wire_bytes: Bytes this rank sent.
    """

    calls: int = 0
    quantized: int = 0
    elements: int = 0
    wire_bytes: int = 0


class Log:
    """A file of one JSON object a line, opened for appending; a line is one `write`."""

    def __init__(self, file: Path) -> None:
        """Open it.

        Raises:
            OSError: It cannot be written; without a log there is no proof, so the server must not run.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line."""
        os.write(self._file, (json.dumps(line) + "\n").encode())


class Recorder:
    """Counts the calls of the forward pass under way and writes them when it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log: Log | None = None
        self._sites: dict[str, Counts] = {}
        self._inside = False

    @property
    def started(self) -> bool:
        """Whether the log has its first line."""
        return self._log is not None

    def start(self, rank: int, facts: Mapping[str, object]) -> None:
        """Open this rank's log and write `facts` as its first line.

        Raises:
            OSError: The log cannot be written.
        """
        self._log = Log(self._directory / f"rank-{rank}.jsonl")
        self._log.write({"rank": rank, **facts})

    @contextmanager
    def forward(self, mode: str, tokens: int) -> Iterator[None]:
        """Count what happens inside as one forward pass of `mode` (SGLang's ForwardMode) over `tokens`."""
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            self._flush(mode, tokens)

    def count(self, site: str, *, quantized: bool, elements: int, wire_bytes: int) -> None:
        """Add one compressed all-reduce at `site`."""
        counts = self._sites.setdefault(site, Counts())
        counts.calls += 1
        counts.quantized += quantized
        counts.elements += elements
        counts.wire_bytes += wire_bytes
        if not self._inside:
            self._flush(OUTSIDE, 0)

    def _flush(self, mode: str, tokens: int) -> None:
        line: dict[str, object] = {"mode": mode, "tokens": tokens}
        if self._sites:
            line["sites"] = {site: asdict(counts) for site, counts in self._sites.items()}
            self._sites = {}
        if self._log is not None:
            self._log.write(line)
