"""What SGLang's arguments were found to be, kept for the next time: to import SGLang for them takes ten seconds.

An answer is that of the same request, environment, packages, plugin and interpreter. Only an answer without problems
is kept, and none where SGLang is somebody's working copy, which may be another under the same version. Standard
library alone.
"""

import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = "site-packages"
# What differs from run to run, or says where a terminal is.
VOLATILE = ("HARNESS_", "COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "_")
UNUSED_S = 30 * 24 * 3600


def place_of(folder: str | None, *asked: object) -> Path | None:
    """Return the file that holds the answer to what was asked, if it was asked before; None for what is not kept.

    Args:
        folder: Where answers are kept; None for none.
        asked: Everything that it depends on, beside interpreter, environment and SGLang's own files.
    """
    found = find_spec("sglang")
    if folder is None or found is None or found.origin is None or PACKAGES not in found.origin:
        return None
    try:
        arguments = (Path(found.origin).parent / "srt" / "server_args.py").stat()
    except OSError:
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith(VOLATILE)}
    file = [found.origin, arguments.st_size, arguments.st_mtime_ns]
    key = json.dumps([sys.executable, sys.version, file, environment, *asked], sort_keys=True)
    return Path(folder) / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def recall(place: Path | None) -> dict[str, Any] | None:
    """Return what is kept there; None for nothing, or for what is broken."""
    with suppress(OSError, ValueError):
        if place is not None and isinstance(kept := json.loads(place.read_text(encoding="utf-8")), dict):
            os.utime(place)
            return kept
    return None


def keep(place: Path | None, answer: dict[str, Any]) -> None:
    """Keep an answer, and remove those that nobody wanted for a month; where nothing can be written, nothing is."""
    if place is None:
        return
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{place.name}.{os.getpid()}")
        partial.write_text(json.dumps(answer), encoding="utf-8")
        partial.replace(place)
        for other in place.parent.iterdir():
            if time.time() - other.stat().st_mtime > UNUSED_S:
                other.unlink()
