"""What a server's log says of its end: the last traceback, without the noise that follows it."""

import re
from pathlib import Path

from harness.safety import harmless

TAIL_LINES = 25
# A traceback in a log that goes on for longer was no end.
NEAR_THE_END = 300
TRACEBACK = "Traceback (most recent call last):"
AFTER = 4
KEY_BYTES = 24
KEY = re.compile(rf"\b[0-9a-f]{{{2 * KEY_BYTES}}}\b")
# What Python's extensions say of objects left over when a process ends, hundreds of lines.
NOISE = re.compile(r"^(nanobind: |\s*- leaked |\s*- \.\.\. skipped |See https://nanobind)")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines that count of a server's log, with the number of the first of them.

    Args:
        log: The log.
        lines: How many; of a traceback its last ones.
    """
    try:
        text = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {error}"
    telling = [(number, line) for number, line in enumerate(text, start=1) if not NOISE.match(line)]
    shown = _last_traceback(telling) or telling
    shown = shown[-lines:]
    first = shown[0][0] if shown else 1
    # SGLang prints its arguments, the key among them.
    words = "\n".join(f"  {harmless(KEY.sub('<redacted>', line))}" for _, line in shown)
    return f"the end of its log, {log} from line {first}:\n{words}"


def _last_traceback(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the last traceback and the few lines after it; nothing where none stands near the end."""
    starts = [index for index, (_, line) in enumerate(lines) if TRACEBACK in line]
    if not starts or len(lines) - starts[-1] > NEAR_THE_END:
        return []
    start = starts[-1]
    frames = start + 1
    while frames < len(lines) and (not lines[frames][1] or lines[frames][1][0].isspace()):
        frames += 1
    return lines[start : frames + 1 + AFTER]
