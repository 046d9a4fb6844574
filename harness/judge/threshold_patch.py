"""A ready change of a file of thresholds: a unified diff, its comments and all other rows left as they are."""

import difflib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Place = tuple[str, ...]
# A number where it stands, and what follows it on its line.
NUMBER = re.compile(r"[-+.\w]+")
# A comment that an earlier change of this kind left.
DATED = re.compile(r"\s*# \d{4}-\d\d-\d\d, \d+ good nights")


def thresholds_patch(file: Path, changes: Mapping[Place, object], comments: Mapping[Place, str] | None = None) -> str:
    """Return a change of a file of thresholds, as `git apply` takes it in the file's folder.

    A number that stands there is changed where it stands. What is new is written by the YAML library, which may write
    another hand's file anew in its own form.

    Args:
        file: The file.
        changes: New values by their place: `models`, the model, the task, the key.
        comments: What is to stand behind numbers that are changed, by the same place.

    Returns:
        The diff; empty for no changes.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 118
    yaml.indent(mapping=2, sequence=4, offset=2)
    before = file.read_text(encoding="utf-8")
    lines, content, new = before.splitlines(keepends=True), yaml.load(before), dict[Place, object]()
    for place, value in changes.items():
        row = _row(content, place)
        if isinstance(row.get(place[-1]), int | float) and isinstance(value, int | float):
            line, column = row.lc.value(place[-1])
            lines[line] = _replaced(lines[line], column, value, (comments or {}).get(place, ""))
        else:
            new[place] = value
    after = "".join(lines)
    if new:
        content = yaml.load(after)
        for place, value in new.items():
            _row(content, place)[place[-1]] = value
        written = io.StringIO()
        yaml.dump(content, written)
        after = written.getvalue()
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{file.name}", f"b/{file.name}"
        )
    )


def _row(content: Any, place: Place) -> Any:  # noqa: ANN401 - the YAML library's
    for name in place[:-1]:
        content = content[name]
    return content


def _replaced(line: str, column: int, value: object, comment: str) -> str:
    rest = NUMBER.sub("", line[column:], count=1)
    if comment:
        rest = DATED.sub("", rest).rstrip("\n")
        rest = f"{rest}; {comment}\n" if "#" in rest else f"{rest.rstrip()} # {comment}\n"
    return f"{line[:column]}{value}{rest}"
