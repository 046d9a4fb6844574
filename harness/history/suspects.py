"""What changed between two runs: of all that their answers depend on, and of what they were judged by."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.history.store import Run

# What a fact belongs to, by how its name begins; the first that holds.
KINDS = (
    ("sglang", "SGLang"),
    ("package", "packages beside SGLang"),
    ("version of torch", "packages beside SGLang"),
    ("version of driver", "driver"),
    ("version of platform", "machine"),
    ("machine", "machine"),
    ("weights", "model"),
    ("threshold ", "thresholds"),
    ("interpreter", "server's environment"),
    ("harness's packages", "harness"),
    ("harness", "harness"),
    ("plugin", "harness"),
    ("version of ", "harness"),
    ("arguments", "suite"),
    ("environment ", "environment"),
    ("asked ", "suite"),
    ("tasks", "suite"),
    ("data", "data"),
    ("order", "suite"),
)
OTHER = "other"
ABSENT = "not there"
# Begins the fact of one package; runs of before have but the hash of all.
PACKAGE = "package "
# What a model's answers depend on least.
LAST = ("machine", "thresholds")
SHOWN = 160
# Facts of files, each by its hash.
FILES = ("harness", "weights", "tasks", "data")
SHOWN_FILES = 5


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One fact that is not the same in two runs.

    Attributes:
        kind: What it belongs to: SGLang, driver, suite and so on.
        name: Its name.
        before: What it is in the first, shortened to what differs; empty for files.
        after: What it is in the second; the names of files whose contents differ.
    """

    kind: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return it in a line."""
        if not self.before:
            return f"{self.kind}: {self.name}: other files: {self.after}"
        return f"{self.kind}: {self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference from one night to the next.

    Attributes:
        run: The first run with the new value.
        what: The difference.
    """

    run: Run
    what: Difference


def changes(runs: Sequence[Run], since: Run) -> list[Change]:
    """Return what changed from run to run, the likeliest cause of what began with one of them first.

    What changed with that very run comes first, then what changed nearest to it.

    Args:
        runs: The runs, by when they started.
        since: The run.
    """
    at = {run.run_id: number for number, run in enumerate(runs)}
    begun = at.get(since.run_id, 0)
    found = [
        Change(run=other, what=what) for one, other in pairwise(runs) for what in differences(one.facts, other.facts)
    ]
    return sorted(found, key=lambda change: (abs(at[change.run.run_id] - begun), change.what.kind in LAST))


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[Difference]:
    """Return every fact that differs between two runs, by kind: SGLang's own first."""
    found = []
    files: dict[str, list[str]] = {}
    named = one.keys() & other.keys()
    listed = any(name.startswith(PACKAGE) for name in named)
    # One by one they say more than the hash of all.
    by_name = any(one[name] != other[name] for name in named if name.startswith(PACKAGE))
    for name in sorted(one.keys() | other.keys()):
        before, after = one.get(name, ABSENT), other.get(name, ABSENT)
        if before == after:
            continue
        kind, _, file = name.partition(" ")
        if (name.startswith(PACKAGE) and not listed) or (name == "packages" and by_name):
            continue
        if kind in FILES and file:
            files.setdefault(kind, []).append(file)
        else:
            before, after = _shortened(before, after)
            found.append(Difference(kind=kind_of(name), name=name, before=before, after=after))
    for kind, names in files.items():
        shown = ", ".join(names[:SHOWN_FILES]) + (
            f" and {more} more" if (more := len(names) - SHOWN_FILES) > 0 else ""
        )
        # A file has a hash for a value, which says only that it is another.
        found.append(Difference(kind=kind_of(kind), name=kind, before="", after=shown))
    kinds = [*(kind for _, kind in KINDS), OTHER]
    # What a version is of says more than the version.
    return sorted(found, key=lambda what: (kinds.index(what.kind), what.name.startswith("version")))


def kind_of(name: str) -> str:
    """Return what a fact belongs to."""
    return next((kind for begins, kind in KINDS if name.startswith(begins)), OTHER)


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Return of two values what differs: of lists and tables in JSON only that, of hashes the beginning."""
    try:
        one, other = json.loads(before), json.loads(after)
    except ValueError:
        return _cut(before), _cut(after)
    if isinstance(one, list) and isinstance(other, list):
        return _listed(x for x in one if x not in other), _listed(x for x in other if x not in one)
    if isinstance(one, dict) and isinstance(other, dict):
        return (
            _listed(f"{key}={value}" for key, value in one.items() if other.get(key) != value),
            _listed(f"{key}={value}" for key, value in other.items() if one.get(key) != value),
        )
    return _cut(before), _cut(after)


def _listed(parts: Iterable[object]) -> str:
    return _cut(", ".join(map(str, parts))) or "nothing"


def _cut(text: str) -> str:
    if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text):  # noqa: PLR2004 - SHA-256
        return text[:12]
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
