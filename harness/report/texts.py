"""Texts of unknown origin and any length as a page shows them: cut, harmless, and marked where two differ."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

from harness.safety import visible

# Words, runs of spaces, and every other character by itself: no difference is smaller than a word.
_WORD = re.compile(r"\w+|\s+|.", re.DOTALL)
# What is kept of what stands alike before the first difference, where a text is cut.
BEFORE = 300
# How much of a prompt's end is looked at for the question.
LOOKED_AT = 4_000


@dataclass(frozen=True)
class Piece:
    """A part of one of two texts.

    Attributes:
        text: The part, harmless to show.
        differs: Whether the other text lacks it.
    """

    text: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two texts, as a page shows it.

    Attributes:
        pieces: Its parts, in order.
        before: Characters that were left out at its beginning, where both texts are alike.
        after: Characters that were left out at its end.
    """

    pieces: tuple[Piece, ...]
    before: int
    after: int


def side_by_side(baseline: str, compressed: str, *, limit: int) -> tuple[Side, Side]:
    """Return two texts with their differences marked, word by word.

    A text longer than `limit` is cut: before the first difference, as far as both are alike, and at its end.

    Args:
        baseline: The one text, of unknown origin and any length.
        compressed: The other.
        limit: The most characters that are shown of each.
    """
    cut = 0
    if max(len(baseline), len(compressed)) > limit:
        cut = max(0, alike(baseline, compressed) - BEFORE)
    windows = [visible(text[cut : cut + limit]) for text in (baseline, compressed)]
    left, right = (_WORD.findall(window) for window in windows)
    # Its heuristic for frequent elements bounds the time: a model may well repeat one word for ever.
    blocks = SequenceMatcher(None, left, right, autojunk=True).get_opcodes()
    differ = [
        # Spaces alone between two differences hold nothing together.
        kind != "equal" or (0 < number < len(blocks) - 1 and "".join(left[start:end]).isspace())
        for number, (kind, start, end, _, _) in enumerate(blocks)
    ]
    pieces = (
        _pieces([left[start:end] for _, start, end, _, _ in blocks], differ),
        _pieces([right[start:end] for _, _, _, start, end in blocks], differ),
    )
    first, second = (
        Side(pieces=found, before=cut, after=max(0, len(text) - cut - limit))
        for found, text in zip(pieces, (baseline, compressed), strict=True)
    )
    return first, second


@dataclass(frozen=True)
class Cut:
    """A text, cut in its middle where it is too long.

    Attributes:
        beginning: How it begins; all of it where nothing was left out.
        left_out: Characters that were left out after that.
        end: How it ends.
    """

    beginning: str
    left_out: int = 0
    end: str = ""


def cut(text: str, limit: int) -> Cut:
    """Return a text, or its first quarter and its last three of `limit` characters: a question stands at the end."""
    if len(text) <= limit:
        return Cut(text)
    first = limit // 4
    return Cut(text[:first], len(text) - limit, text[first - limit :])


def short(text: str, limit: int) -> str:
    """Return a text in one line of at most about so many characters, harmless to show."""
    # Its middle cannot be needed: what is looked at is little more than what is shown.
    line = " ".join(visible(text[: 4 * limit]).split())
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[:limit]}…"


def question_of(prompt: str) -> str:
    """Return the line of a prompt that asks: the last one, less a word that only makes room for the answer.

    What a chat template ends with, `<|im_end|>` and the next speaker's name, asks nothing.
    """
    whole = [line for line in prompt[-LOOKED_AT:].splitlines() if line.strip()]
    lines = [words for line in whole if (words := line.partition("<|")[0]).strip()] or whole
    asked = lines[:-1] if len(lines) > 1 and len(lines[-1]) < len("The final answer:") else lines
    return asked[-1] if asked else ""


def alike(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _pieces(parts: list[list[str]], differ: list[bool]) -> tuple[Piece, ...]:
    """Return a text's parts, neighbours that differ as one."""
    found = [Piece("".join(words), differs) for words, differs in zip(parts, differ, strict=True) if words]
    groups = groupby(found, key=lambda piece: piece.differs)
    return tuple(Piece("".join(piece.text for piece in group), differs) for differs, group in groups)
