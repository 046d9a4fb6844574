"""The parts of SGLang's GSM8K protocol that lm-eval's YAML cannot say."""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasets import Dataset

SHOTS = 5
INVALID = "[invalid]"
_NUMBER = re.compile(r"-?\d+\.?\d*")


def shots(docs: Dataset) -> Dataset:
    """Return the first rows, which are shown as examples.

    Raises:
        ValueError: There are no more, so that none would be scored.
    """
    if len(docs) <= SHOTS:
        raise ValueError(f"{len(docs)} rows are too few: the first {SHOTS} are examples, those after them are scored")
    return docs.select(range(SHOTS))


def without_shots(docs: Dataset) -> Dataset:
    """Return the rows that are scored: all but the examples, which would give their answers away."""
    return docs.select(range(SHOTS, len(docs)))


def value(text: str) -> float | None:
    """Return the last number in `text`, or None where SGLang finds none.

    Thousands separators are dropped first. A number with leading zeros is no Python literal and counts as
    none, as in SGLang. So does an integer too large for a float: a model that repeats one digit writes it.
    """
    numbers = _NUMBER.findall(text.replace(",", ""))
    if not numbers:
        return None
    try:
        return float(ast.literal_eval(numbers[-1]))
    except (SyntaxError, ValueError, OverflowError):
        return None


def written(number: float) -> str:
    """Return a number's one text form, so that 5, 5. and 5.0 are the same answer (15 digits: exact)."""
    # Adding 0 makes 0 of -0.
    return f"{number + 0.0:.15g}"


def last_number(responses: Iterable[Sequence[str]], _docs: object) -> list[list[str]]:
    """Filter for lm-eval: reduce each response to its number, written the same way whatever its form."""
    return [[INVALID if (of := value(text)) is None else written(of) for text in texts] for texts in responses]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Compare the filtered answer with the number that the solution ends in."""
    target = value(doc["answer"])
    return {"exact_match": float(target is not None and results[0] == written(target))}
