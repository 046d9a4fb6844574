"""Findings that differ in the rank alone are one finding."""

import re
from collections.abc import Iterable

_RANK = re.compile(r"\brank (\d+)\b")


def merge_like(errors: Iterable[str]) -> list[str]:
    """Return errors that differ in the rank alone, or in nothing, as one, which names all the ranks."""
    # A dict for its order: one rank may say the same of many passes.
    alike: dict[str, dict[str, None]] = {}
    for text in errors:
        ranks = _RANK.findall(text)
        # The first alone: a second rank in a sentence is another one's part in it.
        alike.setdefault(_RANK.sub("rank #", text, count=1), {})[ranks[0] if ranks else ""] = None
    return [
        key.replace("rank #", f"ranks {', '.join(ranks)}" if len(ranks) > 1 else f"rank {ranks[0]}", 1)
        for key, ranks in ((key, list(found)) for key, found in alike.items())
    ]
