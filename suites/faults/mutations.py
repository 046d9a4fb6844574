"""Inputs that were changed at random: suites, thresholds, tasks, data, run folders; the seed says how."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from suites.faults.kinds import Expected, Kind, Seen
from suites.faults.lab import Lab
from suites.faults.worker import in_worker

# 2,000 in all; a short campaign takes one in forty.
COUNTS = {"suites": 600, "thresholds": 500, "tasks": 100, "data": 300, "runs": 500}
SHORT = 40
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    -(2**70),
    10**400,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    "",
    " ",
    "x" * 5000,
    "\x00\x1b[31m",
    "::error::x",
    "\u2028\u202e",
    "../../../etc/passwd",
    "{{ 7 * 7 }}",
    "!function os.system",
    "%s%n",
    [],
    [[]],
    {},
    {"a": {"b": {}}},
    "2026-01-01",
    "yes",
    "1_000",
)
ODD_TEXTS = (
    "\x00",
    "\ud7ff",
    "&a [*a]",
    "- ",
    ": ",
    "\t",
    "#",
    '"',
    "'",
    "{",
    "]",
    "---\n",
    "? ",
    "|\n",
    "\x85",
    "\ufeff",
)


def kinds(*, short: bool) -> Iterator[Kind]:
    """Yield them; there are fewer cases in the short form."""
    for what, count in COUNTS.items():
        cases = count // SHORT if short else count
        yield Kind(
            name=f"{cases} changed at random: {what}",
            family="mutations",
            where="in one process",
            expected=Expected(codes=()),
            act=partial(_mutated, what, cases),
            short=True,
        )


def _mutated(what: str, count: int, lab: Lab) -> Seen:
    found = in_worker(lab, what, count=count)
    return Seen(problems=found["problems"], cases=count, note=found["note"])


def mutate_text(chance: random.Random, text: str) -> bytes:
    """Change a text's letters or lines, or cut it."""
    place = chance.randrange(len(text) + 1)
    lines = text.splitlines(keepends=True) or [""]
    line = chance.randrange(len(lines))
    odd = chance.choice(ODD_TEXTS)
    ways: tuple[Callable[[], str], ...] = (
        lambda: text[:place],
        lambda: text[:place] + odd + text[place:],
        lambda: text[:place] + text[place + chance.randrange(1, 9) :],
        lambda: "".join([*lines[:line], *lines[line + 1 :]]),
        lambda: "".join([*lines[:line], lines[line], *lines[line:]]),
        lambda: "".join(chance.sample(lines, len(lines))),
        lambda: "".join([*lines[:line], f"  {lines[line]}", *lines[line + 1 :]]),
        lambda: text[:place] + chr(chance.randrange(0x20, 0x2FFF)) + text[place + 1 :],
    )
    changed = chance.choice(ways)().encode(errors="surrogatepass")
    if chance.random() < 0.1:
        at = chance.randrange(len(changed) + 1)
        changed = changed[:at] + bytes(chance.randrange(256) for _ in range(3)) + changed[at:]
    return changed


def mutate_value(chance: random.Random, value: Any) -> Any:
    """Change one place of what a JSON or YAML file holds: its value, its key, or whether it is there."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
        return chance.choice(ODD)
    pairs: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
    place = chance.randrange(len(pairs))
    key, entry = pairs[place]
    way = chance.randrange(6)
    if way == 0:
        pairs.pop(place)
    elif way == 1:
        # A list has the same twice, an object another key.
        pairs.append((f"{key}x", entry))
    else:
        pairs[place] = (key, mutate_value(chance, entry))
    return dict(pairs) if isinstance(value, dict) else [found for _, found in pairs]


def mutate_yaml(chance: random.Random, file: Path) -> None:
    """Change a YAML file as text, or what it holds."""
    text = file.read_text()
    if chance.random() < 0.5 or "!function" in text:
        file.write_bytes(mutate_text(chance, text))
    else:
        file.write_text(yaml.safe_dump(mutate_value(chance, yaml.safe_load(text))))


def mutate_json(chance: random.Random, file: Path) -> None:
    """Change a file of JSON, or of a JSON value a line, as text, or what one of its lines holds."""
    text = file.read_text(errors="replace")
    if chance.random() < 0.4 or file.suffix not in {".json", ".jsonl"}:
        file.write_bytes(mutate_text(chance, text))
        return
    lines = [text] if file.suffix == ".json" else text.splitlines()
    line = chance.randrange(len(lines))
    lines[line] = json.dumps(mutate_value(chance, json.loads(lines[line])))
    file.write_text("\n".join(lines) + "\n")


def mutate_folder(chance: random.Random, folder: Path) -> str:
    """Change one file of a folder, or lose it; return its name."""
    file = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    if chance.random() < 0.1:
        file.unlink()
    else:
        mutate_json(chance, file)
    return str(file.relative_to(folder))


def fresh(source: Path, place: Path) -> Path:
    """Return a fresh copy of a folder."""
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(source, place, symlinks=True))
