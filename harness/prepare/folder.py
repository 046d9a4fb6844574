"""A user's own folder of JSON lines: read, checked line by line, and each question counted once."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, HarnessError, Problem

Row = dict[str, Any]
# Returns the row as it is kept, or what is wrong with it.
Check = Callable[[Row], Row | str]
SHOWN = 10
# The columns of an answer, where the columns are known.
ANSWERS: tuple[str, ...] = ("answer", "label")
# What numbers a row and is no part of its question.
NUMBERS = frozenset(("id", "idx", "ind", "index"))


def read_folder(
    folder: Path, names: Sequence[str], checks: Mapping[str, Check]
) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """Read the files of a folder.

    A row that stands there twice is one question: counted as two it would narrow the interval. It is left out and
    told.

    Args:
        folder: The folder.
        names: The files in it, each of JSON objects, one a line.
        checks: For files whose columns are known, what a row must be.

    Returns:
        The rows of each file, and what the manifest says of the whole.

    Raises:
        HarnessError: Files are missing, all of them named.
        ConfigError: Rows are broken or contradict each other; at most ten lines of each kind, then their number.
    """
    if not folder.is_dir():
        raise HarnessError(f"there is no folder {folder.absolute()}: it would hold {', '.join(names)}")
    if missing := [str(folder.absolute() / name) for name in names if not (folder / name).is_file()]:
        raise HarnessError(f"the data lacks {', '.join(missing)}: suites/README.md has the files' form")
    problems: list[Problem] = []
    splits: dict[str, list[Row]] = {}
    repeated: dict[str, list[int]] = {}
    for name in names:
        splits[name], repeated[name] = _read(folder / name, checks.get(name, dict), problems)
        if not splits[name] and not any(problem.file == folder / name for problem in problems):
            problems.append(Problem(file=folder / name, message="holds no row"))
    if problems:
        raise ConfigError(list(limited(problems)))
    counted_once = {name: lines for name, lines in repeated.items() if lines}
    told = {"origin": str(folder.resolve()), "licence": "the folder's own"}
    return splits, told | ({"counted_once": counted_once} if counted_once else {})


def _read(file: Path, check: Check, problems: list[Problem]) -> tuple[list[Row], list[int]]:
    """Return a file's rows and the lines that repeat an earlier one; what is wrong is added to `problems`."""
    rows: list[Row] = []
    repeated: list[int] = []
    first: dict[str, tuple[int, Row]] = {}
    for number, line in enumerate(read_lines(file), start=1):
        found = checked(line, check)
        if isinstance(found, str):
            problems.append(Problem(file=file, line=number, message=found))
            continue
        asked = {name: value for name, value in found.items() if name not in NUMBERS}
        known = ANSWERS if check is not dict else ()
        answer = {name: asked.pop(name) for name in known if name in asked}
        earlier, its_answer = first.setdefault(json.dumps(asked, sort_keys=True), (number, answer))
        if earlier == number:
            rows.append(found)
        elif answer == its_answer:
            repeated.append(number)
        else:
            text = f"asks what line {earlier} asks, with another answer: keep one of them"
            problems.append(Problem(file=file, line=number, message=text))
    return rows, repeated


def checked(line: str, check: Check) -> Row | str:
    """Return the row that a line holds, or what is wrong with it."""
    try:
        row = json.loads(line)
    except ValueError as error:
        return f"is not JSON: {error}"
    return check(row) if isinstance(row, dict) else "is not a JSON object"


def read_lines(file: Path) -> Iterator[str]:
    """Yield a file's lines; line ends within JSON's own text, U+2028 and the like, end none.

    Raises:
        HarnessError: It is not UTF-8 text.
    """
    with file.open(encoding="utf-8") as lines:
        try:
            yield from lines
        except UnicodeDecodeError as error:
            raise HarnessError(f"{file} is not UTF-8 text: {error.reason}") from error


def limited(problems: Sequence[Problem]) -> Iterator[Problem]:
    """Yield the first ten problems of each kind in each file, and how many more there are."""
    kinds = [(problem.file, re.sub(r"\d+", "", problem.message.partition(":")[0])) for problem in problems]
    total, seen = Counter(kinds), Counter[tuple[Path, str]]()
    for problem, kind in zip(problems, kinds, strict=True):
        seen[kind] += 1
        if seen[kind] <= SHOWN:
            yield problem
        elif seen[kind] == total[kind]:
            yield Problem(file=kind[0], message=f"and {total[kind] - SHOWN} more lines like these: {kind[1].strip()}")
