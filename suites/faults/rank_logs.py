"""The logs that a server's ranks would leave, by the plugin's own recorder, and the ways to falsify them."""

import math
import threading
from pathlib import Path
from typing import Any

from harness.sglang_plugin.policy import SITES
from harness.sglang_plugin.recorder import Log, Recorder
from harness.sglang_plugin.settings import Settings
from harness.sglang_plugin.study_folder import TextsFile, hash_tokens
from suites.faults.sglang_answers import UNCOMPRESSED

TP = 2
LAYERS = 2
WIDTH = 64
SGLANG = "fake"
LATE_RANK_S = 0.3
LATE_S = {"late": 0.5, "much-too-late": 60.0}


class Ranks:
    """What every rank writes of each forward pass.

    Attributes:
        fault: How the logs are falsified; `secretly-...`: the flag says otherwise than what is done. A word that
            nothing below knows is none.
    """

    def __init__(self, settings: Settings, *, flag: bool, fault: str, sglang: str = SGLANG) -> None:
        self.fault = fault
        self._settings = settings
        self._texts = TextsFile(settings.dir)
        self._flag = flag
        self._compresses = flag != (fault in {"secretly-compressed", "secretly-plain"})
        self._lock = threading.Lock()
        self._recorders: dict[int, Recorder] = {}
        self._live: dict[int, Log] = {}
        self._calls = 0
        self._prefills = 0
        self._sglang = sglang

    def answered(self, tokens: int, generated: int) -> None:
        """Write the passes of one answer: a prefill, then one of decode for each token but the first."""
        if self.fault in LATE_S:
            threading.Timer(LATE_S[self.fault], self._write_locked, (tokens, generated)).start()
        else:
            self._write_locked(tokens, generated)

    def predicted(self, tokens: list[int], after: float) -> None:
        """Write what the plugin finds of a fixed text: two tokens that can follow, the one that does less likely."""
        self._texts.refresh()
        if tuple(tokens) not in self._texts.texts:
            return
        before, count = UNCOMPRESSED, len(tokens) - 1
        kl = math.exp(before) * (before - after) + (1 - math.exp(before)) * math.log(
            (1 - math.exp(before)) / (1 - math.exp(after))
        )
        found = {"kl": [kl] * count, "baseline": [before] * count, "candidate": [after] * count}
        same = {"same_top": [True] * count, "baseline_top": tokens[1:], "candidate_top": tokens[1:]}
        head = {"policy": 0, "text": hash_tokens(tokens), "reference": 0}
        Log(self._settings.dir / "predictions.jsonl").write({**head, **found, **same})

    def _write_locked(self, tokens: int, generated: int) -> None:
        with self._lock:
            self._write(tokens, generated)

    def _write(self, tokens: int, generated: int) -> None:
        if not self._recorders:
            self._start()
        self._prefills += 1
        for _ in range(50 if self.fault == "fifty-fold" else 1):
            for rank, recorder in self._recorders.items():
                self._prefill(rank, recorder, tokens)
        for recorder in self._recorders.values():
            for _ in range(max(0, generated - 1)):
                with recorder.forward("DECODE", 1):
                    if self.fault == "in-decode":
                        self._count(recorder, 1)
        self._check_live(tokens)
        if self.fault in {"rank-cut", "garbage-in-log"} and self._prefills == 1 + len(SITES):
            self._spoil()

    def _start(self) -> None:
        settings, fault = self._settings, self.fault
        for rank in range(TP):
            if fault == "rank-missing" and rank == 1:
                continue
            self._recorders[rank] = Recorder(settings.dir)
            self._recorders[rank].start(
                rank,
                {
                    "world_size": 3 if fault == "says-three-ranks" else TP,
                    "virtual_ranks": 0,
                    "tp_size": TP,
                    "layers": LAYERS,
                    "hidden": WIDTH,
                    "device": "cpu",
                    "flag": self._flag != (fault == "says-another-flag"),
                    "implementation": "harness.collective",
                    "codec": "none" if fault == "says-none" else settings.codec,
                    "algorithm": settings.algorithm,
                    "sglang": "0.4.0" if fault == "says-another-version" else self._sglang,
                    "torch": "2.9.0",
                },
            )
            if fault == "late-rank" and rank == 1:
                _delay(self._recorders[rank])
            if settings.check_every and not (fault == "live-missing" and rank == 1):
                self._live[rank] = Log(settings.dir / f"live-rank-{rank}.jsonl")
                head = {"rank": rank, "every": settings.check_every, "codec": settings.codec}
                self._live[rank].write({**head, "algorithm": settings.algorithm})

    def _prefill(self, rank: int, recorder: Recorder, tokens: int) -> None:
        if self.fault == "rank-stops" and rank == 1 and self._prefills > 1:
            return
        with recorder.forward("EXTEND", tokens - (self.fault == "ranks-differ" and rank == 1)):
            if self._compresses:
                self._count(recorder, tokens)

    def _count(self, recorder: Recorder, tokens: int) -> None:
        elements = tokens * WIDTH // (2 if self.fault == "half-elements" else 1)
        for layer in range(LAYERS):
            for site in SITES:
                recorder.count(
                    site,
                    layer=layer,
                    how=f"{self._settings.codec} {self._settings.algorithm}",
                    quantized=self.fault != "fell-back",
                    elements=elements,
                    wire_bytes=elements + 4 * tokens,
                )

    def _check_live(self, tokens: int) -> None:
        """Sample as the plugin does: all calls of the first pass, then every so many."""
        if not self._live or not self._compresses:
            return
        samples = []
        for layer in range(LAYERS):
            for site in SITES:
                left_out = self.fault == "live-layer-missing" and layer == LAYERS - 1
                if not left_out and (self._prefills == 1 or self._calls % self._settings.check_every == 0):
                    samples.append(self._sample(site, layer, tokens))
                self._calls += 1
        for log in self._live.values():
            if samples:
                log.write({"calls": self._calls, "pass_seconds": 2.0, "check_seconds": 0.5, "samples": samples})

    def _sample(self, site: str, layer: int, tokens: int) -> dict[str, Any]:
        return {
            "call": self._calls,
            "site": site,
            "layer": layer,
            "codec": self._settings.codec,
            "algorithm": self._settings.algorithm,
            "token0": self._tally(1),
            "rest": self._tally(tokens - 1),
            "nonfinite": 1 if self.fault == "live-nonfinite" else 0,
            "worst": {"row": 0, "column": 0, "served": 1.5, "expected": 1.25, "allowed": 0.5},
            "swallowed": 2 if self.fault == "live-swallowed" else 0,
            "differing": 3 if self.fault == "live-differing" else 0,
            "differing_most": {"row": 0, "column": 0, "served": 1.5, "expected": 1.25, "allowed": 0.0}
            if self.fault == "live-differing"
            else None,
        }

    def _tally(self, tokens: int) -> dict[str, Any]:
        """Errors as INT8 makes them, 40 dB below the signal; a plain sum's are 60 dB lower."""
        beyond = self.fault == "live-beyond"
        return {
            "tokens": tokens,
            "elements": tokens * WIDTH,
            "beyond": tokens if beyond else 0,
            "over_bound": (7.0 if beyond else 0.5) if tokens else 0.0,
            "signal": 100.0 * tokens,
            "error": (1e-8 if self.fault == "plain-under-flag" else 0.01) * tokens,
            "claimed": 0.01 * tokens,
            "nonzero": tokens * WIDTH,
            "flushed": tokens,
            "crest": 4.0 if tokens else 0.0,
        }

    def _spoil(self) -> None:
        """Cut rank 1's log as a crash of the machine would, or put into it what is no log."""
        file = self._settings.dir / "rank-1.jsonl"
        if self.fault == "rank-cut":
            file.write_bytes(file.read_bytes()[:-20])
        else:
            _append(file, b'\xff\xfe\x00 not a line of a log\n[1, 2]\n"text"\n')


def _delay(recorder: Recorder) -> None:
    """Have a rank write what another has written long since."""
    log = recorder._log  # noqa: SLF001 - there is no other way to be late
    if log is not None:
        write = log.write
        log.write = lambda line: threading.Timer(LATE_RANK_S, write, (dict(line),)).start()  # type: ignore[method-assign]


def _append(file: Path, content: bytes) -> None:
    with file.open("ab") as out:
        out.write(content)
