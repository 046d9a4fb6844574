"""One rank's log of its forward passes: a line of JSON for each, with what it compressed.

The log is only written here and only judged in harness.judge.engagement, so that the proof can be looked at
again later. A line is one `write` of a file opened for appending: whatever kills the server, the lines of
the passes that ended are there.

rank-N.jsonl: the first line holds the rank's facts, each other one a forward pass:

    {"rank": 0, "world_size": 2, "virtual_ranks": 0, "tp_size": 2, "layers": 30, "hidden": 576, "device": "cpu",
     "flag": true, "implementation": "harness.collective", "codec": "int8_token", "algorithm": "one_shot",
     "sglang": "0.5.23", "torch": "2.13.0"}
    {"policy": 3, "mode": "EXTEND", "tokens": 115, "seconds": 0.4131, "sites": {"attention": COUNTS, "ffn": COUNTS}}
    {"policy": 3, "mode": "DECODE", "tokens": 16, "seconds": 0.0213}

`codec` and `algorithm` are the settings' (policy 0, in force until there is a policy's file); `policy` is the number
of the policy in force in the pass; `seconds` is the host's time of the call, live check included: on an accelerator,
which computes while the host goes on, it is not the device's, for which nothing waits here. COUNTS are those of
`Counts`; a site of which no sum was asked for is not there, and nothing is counted in decode and idle passes of
virtual ranks, whose sums are always plain. `layers` says which layers' sums were made how, in the order of the calls:
`{"int8_token one_shot": [0, 1], "plain": [2]}`. In the log of a server with `virtual_ranks` N, which has one rank of
its own, elements and bytes are those of one rank of N.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.sglang_plugin.policy import PLAIN

OUTSIDE = "OUTSIDE"


@dataclass
class Counts:
    """What one site compressed in one forward pass.

    Attributes:
        calls: Sums that were to be compressed: calls of `GroupCoordinator.quant_all_reduce`, or what virtual ranks
            have in their place.
        quantized: Those of them in which a quantization really ran: SGLang falls back to a plain
            all-reduce, in silence, where the NPU's kernel cannot be imported.
        elements: Elements of the tensors they reduced.
        wire_bytes: Bytes this rank sent for them.
        plain: Sums that the policy leaves plain.
        plain_bytes: Bytes that a ring all-reduce sends for them.
        layers: The layers of all these sums, by the codec and algorithm, or `plain`.
    """

    calls: int = 0
    quantized: int = 0
    elements: int = 0
    wire_bytes: int = 0
    plain: int = 0
    plain_bytes: int = 0
    layers: dict[str, list[int]] = field(default_factory=dict)


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
        self._policy = 0

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
    def forward(self, mode: str, tokens: int, *, policy: int = 0) -> Iterator[None]:
        """Count what happens inside as one forward pass of `mode` (SGLang's ForwardMode) over `tokens`."""
        self._inside, self._policy = True, policy
        began = time.monotonic()
        try:
            yield
        finally:
            self._inside = False
            self._flush(mode, tokens, seconds=round(time.monotonic() - began, 6))

    def count(self, site: str, *, layer: int, how: str, quantized: bool, elements: int, wire_bytes: int) -> None:
        """Add one sum at `site` that was to be compressed; `how` names the codec and the algorithm."""
        counts = self._sites.setdefault(site, Counts())
        counts.calls += 1
        counts.quantized += quantized
        counts.elements += elements
        counts.wire_bytes += wire_bytes
        self._note(counts, how, layer)

    def count_plain(self, site: str, *, layer: int, ring_bytes: int) -> None:
        """Add one sum at `site` that the policy leaves plain."""
        counts = self._sites.setdefault(site, Counts())
        counts.plain += 1
        counts.plain_bytes += ring_bytes
        self._note(counts, PLAIN, layer)

    def _note(self, counts: Counts, how: str, layer: int) -> None:
        counts.layers.setdefault(how, []).append(layer)
        if not self._inside:
            self._flush(OUTSIDE, 0)

    def _flush(self, mode: str, tokens: int, **timed: float) -> None:
        line: dict[str, object] = {"policy": self._policy, "mode": mode, "tokens": tokens, **timed}
        if self._sites:
            line["sites"] = {site: asdict(counts) for site, counts in self._sites.items()}
            self._sites = {}
        if self._log is not None:
            self._log.write(line)
