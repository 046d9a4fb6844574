"""A ready change of a file of thresholds: a unified diff, its comments and all other rows left as they are."""

import difflib
import io
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

Place = tuple[str, ...]


def thresholds_patch(file: Path, changes: Mapping[Place, object], comments: Mapping[Place, str] | None = None) -> str:
    """Return a change of a file of thresholds, as `git apply` takes it in the file's folder.

    Args:
        file: The file.
        changes: New values by their place: `models`, the model, the task, the key.
        comments: What is to stand behind some of them, by the same place.

    Returns:
        The diff; empty for no changes: written again, another hand's file would change in its form alone.
    """
    if not changes:
        return ""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 118
    yaml.indent(mapping=2, sequence=4, offset=2)
    before = file.read_text(encoding="utf-8")
    content = yaml.load(before)
    for (*place, key), value in changes.items():
        row = content
        for name in place:
            row = row[name]
        row[key] = value
        if comment := (comments or {}).get((*place, key)):
            row.yaml_add_eol_comment(comment, key)
    after = io.StringIO()
    yaml.dump(content, after)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.getvalue().splitlines(keepends=True),
        f"a/{file.name}",
        f"b/{file.name}",
    )
    return "".join(lines)
