"""Findings that differ in the rank alone are one finding."""

import re
from collections.abc import Iterable

_RANK = re.compile(r"\brank (\d+)\b")


def merge_like(errors: Iterable[str]) -> list[str]:
    """Return errors that differ in the rank alone as one, which names all the ranks."""
    alike: dict[str, list[str]] = {}
    for text in errors:
        ranks = _RANK.findall(text)
        # The first alone: a second rank in a sentence is another one's part in it.
        alike.setdefault(_RANK.sub("rank #", text, count=1), []).append(ranks[0] if ranks else "")
    return [
        key.replace("rank #", f"ranks {', '.join(ranks)}" if len(ranks) > 1 else f"rank {ranks[0]}", 1)
        for key, ranks in alike.items()
    ]
