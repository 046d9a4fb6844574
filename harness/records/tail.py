"""Reads a file of JSON lines as another process adds to it."""

import json
from pathlib import Path
from typing import Any, Self


class Tail:
    """What was added to a file since it was last looked at."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def skip(self) -> Self:
        """Pass over what is there, and return itself."""
        self._offset = self._file.stat().st_size if self._file.exists() else 0
        return self

    def read(self) -> list[dict[str, Any]]:
        """Return the whole lines that were written since.

        Raises:
            ValueError: One of them is not JSON.
        """
        if not self._file.exists():
            return []
        with self._file.open("rb") as content:
            content.seek(self._offset)
            new = content.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
