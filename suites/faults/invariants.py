"""What has to hold after every fault, whatever it was: nothing half-written, nothing lost, and resuming works."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suites.faults.lab import BATCH, QUESTIONS, Ended, Lab

ERROR = 3
# What a run says of itself and no other run says again.
OF_ONE_RUN = ("run_id", "started", "timings", "time", "arms", "repeat", "rebuild", "versions", "notes")
# The same within what it says of tasks and data.
OF_ONE_TIME = ("seconds", "origin")


def folder_problems(folder: Path, *, torn: bool = False) -> Iterator[str]:
    """Yield the files of a run's folder that are there in part.

    Args:
        folder: The folder.
        torn: Whether a file that is added to may end within a line, as after SIGKILL or on a full disk.
    """
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder)
        if "engagement" in name.parts:
            continue
        if ".partial" in file.name and not torn:
            yield f"{name} was left behind"
        if file.suffix == ".json" and not _is_json(file.read_text(errors="replace")):
            yield f"{name} is half-written"
        if file.suffix == ".jsonl":
            *lines, last = file.read_text(errors="replace").split("\n")
            bad = [number for number, line in enumerate(lines, start=1) if not _is_json(line)]
            if bad:
                yield f"{name}: line {bad[0]} is half-written"
            if last and not torn:
                yield f"{name}: its last line is half-written"


def verdict_problems(folder: Path | None, ended: Ended) -> Iterator[str]:
    """Yield where a run's exit code is not that of the report it wrote, or there is none."""
    if folder is None:
        yield "there is no run's folder"
    elif (report := read_report(folder)) is None:
        yield "there is no report"
    elif ended.code is not None and 0 <= ended.code <= ERROR and report["exit_code"] != ended.code:
        yield f"exit code {ended.code}, but the report says {report['exit_code']}"


def lost_problems(lab: Lab, folder: Path) -> Iterator[str]:
    """Yield the arms that have fewer answers on disk than their server gave; the last batch may be on its way."""
    given: dict[str, int] = {}
    for line in lab.journal():
        if line["event"] == "answered":
            given[line["arm"]] = max(given.get(line["arm"], 0), line["number"])
    for arm, count in given.items():
        kept = len(kept_answers(folder / arm))
        if kept < min(count, sum(QUESTIONS.values())) - BATCH:
            yield f"{arm}: {count} answers were given, {kept} are on disk"


def kept_answers(arm: Path) -> set[tuple[str, Any]]:
    """Return which questions of an arm have an answer on disk: task and document."""
    found: set[tuple[str, Any]] = set()
    for name, key in (("requests.jsonl", ("task", "doc_id")), ("fidelity.jsonl", ("text", "text_hash"))):
        for row in _rows(arm / name):
            found.add((str(row.get(key[0])), row.get(key[1])))
    return found


def differences(reference: Path, other: Path) -> Iterator[str]:
    """Yield how a run differs from another in what it measured and what that came to."""
    ours, theirs = read_report(reference), read_report(other)
    if ours is None or theirs is None:
        yield "there is no report to compare"
        return
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in OF_ONE_RUN and _timeless(ours.get(name)) != _timeless(theirs.get(name)):
            yield f"the report's {name} differs: {str(theirs.get(name))[:120]}"
    for file in sorted(reference.glob("*/*.jsonl")):
        place = file.relative_to(reference)
        if file.name == "requests.jsonl":
            continue
        if sorted(map(_text, _rows(file))) != sorted(map(_text, _rows(other / place))):
            yield f"{place} differs"


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return a run's report, None where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError):
        return None
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(entry) for name, entry in value.items() if name not in OF_ONE_TIME}
    return value


def _text(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_text(errors="replace").split("\n")
    except OSError:
        return []
    return [json.loads(line) for line in lines if _is_json(line)]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
