"""Waits for the lines that an idle server's ranks have still to write: one may come after the answer of its pass."""

import time
from typing import Any

from harness.judge.rank_log import NEVER_COMPRESSED, OF_DRAFTS, is_prefill
from harness.records.run_folder import ArmFolder
from harness.records.tail import Tail
from harness.records.time_spent import Passes

TIMEOUT_S = 2.0
# At a server's start nobody knows what it prefilled by itself: its logs are read when nothing more came for so long.
QUIET_S = 0.7
POLL_S = 0.002


class RankLogs:
    """How many tokens an arm's ranks say that they prefilled, read as their logs grow."""

    def __init__(self, folder: ArmFolder, tp: int) -> None:
        self._tails = [Tail(folder.engagement / f"rank-{rank}.jsonl") for rank in range(tp)]
        self._tokens = [0] * tp
        self._lines = [0] * tp
        self._given_up = False
        self._passes = Passes()
        self._timed = True

    @property
    def passes(self) -> Passes | None:
        """Rank 0's forward passes as far as they were read; None where logs could not be followed, or are untimed."""
        return self._passes if self._timed and not self._given_up else None

    def wait_for(self, tokens: int) -> None:
        """Wait until each rank has written as many lines as the others, and of so many tokens; two seconds at most.

        Whether all of them did is for the proof to say. Ranks that once did not are waited for no more.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while not self._given_up:
            self._read()
            if len(set(self._lines)) == 1 and min(self._tokens) >= tokens:
                return
            self._given_up |= time.monotonic() > deadline
            time.sleep(POLL_S)

    def wait_until_quiet(self) -> None:
        """Wait until no rank has written anything for a while; two seconds at most."""
        deadline = time.monotonic() + TIMEOUT_S
        self._read()
        quiet, seen = time.monotonic(), list(self._lines)
        while time.monotonic() < min(deadline, quiet + QUIET_S) and not self._given_up:
            time.sleep(POLL_S)
            self._read()
            if self._lines != seen:
                quiet, seen = time.monotonic(), list(self._lines)

    def _read(self) -> None:
        try:
            for rank, tail in enumerate(self._tails):
                lines = tail.read()
                self._lines[rank] += len(lines)
                # The first line of a start is what the rank says of itself.
                passes = [line for line in lines if "mode" in line]
                self._tokens[rank] += sum(line["tokens"] for line in passes if is_prefill(line))
                if rank == 0:
                    self._count(passes)
        except (OSError, ValueError, KeyError, TypeError):
            self._given_up = True

    def _count(self, passes: list[dict[str, Any]]) -> None:
        computed = [line for line in passes if is_prefill(line) or line["mode"] == "DECODE"]
        self._timed &= all("seconds" in line for line in computed)
        if self._timed:
            self._passes = sum(map(_timed, computed), self._passes)


def _timed(line: dict[str, Any]) -> Passes:
    """Return a line of a rank's log as one forward pass."""
    if line["mode"] in NEVER_COMPRESSED | OF_DRAFTS:
        return Passes(decodes=1, decode_tokens=line["tokens"], decode_seconds=line["seconds"])
    return Passes(prefills=1, prefill_tokens=line["tokens"], prefill_seconds=line["seconds"])
