"""The data of a run in one line: source, place, rows and hash."""

from collections.abc import Mapping
from typing import Any

HASH_SHOWN = 12
LINES_SHOWN = 10


def data_line(manifest: Mapping[str, Any]) -> str:
    """Return what a manifest of `harness.prepare.data` says, for terminal, dry run and report."""
    origin = manifest.get("origin", "")
    where = origin if isinstance(origin, str) else "; ".join(dict.fromkeys(map(str, origin.values())))
    once = manifest.get("counted_once", {})
    files = []
    for name, entry in manifest.get("files", {}).items():
        text = f"{name} {entry['rows']} rows, SHA-256 {entry['sha256'][:HASH_SHOWN]}"
        if lines := once.get(name):
            more = ", …" if len(lines) > LINES_SHOWN else ""
            text += f", {len(lines)} repeated (counted once: lines {', '.join(map(str, lines[:LINES_SHOWN]))}{more})"
        files.append(text)
    return f"data: {manifest['source']} ({where})" + (f": {'; '.join(files)}" if files else "")
