"""The fixed texts that both arms predict: the first of each source, whatever the arm, the run or the machine."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.prepare.data import BOOLQ, GSM8K_TEST


@dataclass(frozen=True, kw_only=True)
class Text:
    """One text.

    Attributes:
        name: Its source and its number there, from 0: `boolq/3`.
        content: The text itself.
    """

    name: str
    content: str

    @property
    def hash(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def _solution(row: Mapping[str, Any]) -> str:
    return f"{row['question']}\n{row['answer']}"


def _passage(row: Mapping[str, Any]) -> str:
    return str(row["passage"])


# Where each source's texts are in the prepared data, and what of a row is the text.
SOURCES: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "gsm8k": (GSM8K_TEST, _solution),
    "boolq": (BOOLQ, _passage),
}


def _in_file(data: Path, source: str) -> Iterator[str]:
    file, text_of = SOURCES[source]
    with (data / file).open(encoding="utf-8") as lines:
        yield from (text_of(json.loads(line)) for line in lines)


def build_texts(data: Path, counts: Mapping[str, int], own: Mapping[str, Iterable[str]] | None = None) -> list[Text]:
    """Return the first texts of each source: GSM8K's questions with their gold solutions, BoolQ's passages.

    A passage that several questions share is one text: twice in the sample it would be counted as two.

    Args:
        data: The prepared data.
        counts: How many texts of which source.
        own: The texts of the sources that are no files of it: a task's questions with their right answers.

    Raises:
        HarnessError: The data lacks a file or texts; all at once.
    """
    texts: list[Text] = []
    problems: list[str] = []
    for source, count in counts.items():
        try:
            there = own[source] if own is not None and source in own else _in_file(data, source)
            contents = list(islice(dict.fromkeys(there), count))
        except OSError as error:
            problems.append(f"fidelity: {data / SOURCES[source][0]} cannot be read: {error.strerror}")
            continue
        if len(contents) < count:
            problems.append(
                f"fidelity: {count} texts of {source} are asked for, the data in {data} has {len(contents)}"
            )
        texts += [Text(name=f"{source}/{number}", content=content) for number, content in enumerate(contents)]
    if problems:
        raise HarnessError("\n".join(problems))
    return texts
