"""The keys that the documents list are those that the models have, and their defaults too."""

import re
from typing import Any

import pytest

from harness.config.suite import FidelityRun, Suite, TaskRun
from harness.config.thresholds import (
    Calibration,
    FidelityThreshold,
    KnownAnswers,
    KnownPredictions,
    PooledThreshold,
    Threshold,
)
from harness.places import ROOT
from harness.strict import Strict

SUITES, THRESHOLDS = ROOT / "suites" / "README.md", ROOT / "docs" / "thresholds.md"


def key_tables(file: str) -> list[dict[str, str]]:
    """Return the tables of keys, what each row says beside its keys; `.b` beside `a.x` is `a.b`."""
    tables: list[dict[str, str]] = []
    for section in file.split("\n\n"):
        head, *rows = section.splitlines() or [""]
        if head != "| key | meaning |":
            continue
        tables.append({})
        for row in rows[1:]:
            _, names, says, _ = row.split("|", 3)
            parent = ""
            for name in re.findall("`([^`]+)`", names):
                key = f"{parent}{name}" if name.startswith(".") else name
                parent = key.rpartition(".")[0]
                tables[-1][key] = says
    return tables


def keys_of(model: Any, prefix: str = "") -> dict[str, object]:
    """Return a model's keys as a person writes them, with their defaults; those of a task below `tasks.NAME`."""
    below: dict[str, tuple[str, type[Strict]]] = {
        "tasks": ("tasks.NAME", TaskRun),
        "fidelity": ("fidelity", FidelityRun),
    }
    keys: dict[str, object] = {}
    for name, field in model.model_fields.items():
        key, inner = below.get(name, (name, field.annotation)) if model is Suite else (name, field.annotation)
        if isinstance(inner, type) and issubclass(inner, Strict):
            keys |= keys_of(inner, f"{prefix}{key}.")
        else:
            keys[f"{prefix}{name}"] = field.get_default(call_default_factory=True)
    return keys


def test_the_keys_of_a_suite() -> None:
    [listed] = key_tables(SUITES.read_text(encoding="utf-8"))
    keys = keys_of(Suite)
    assert listed.keys() == keys.keys()
    told = {
        key: found.group(1).split("`")[-1]
        for key, says in listed.items()
        if (found := re.search(r"\((\d+|true|false)\)", says))
    }
    assert told == {key: str(keys[key]).lower() for key in told}
    # A number that is not told is one that must be given, or one that is not there.
    assert not {key for key, default in keys.items() if type(default) in (int, float, bool)} - told.keys()


@pytest.mark.parametrize(("table", "model"), [(0, Threshold), (1, PooledThreshold), (2, FidelityThreshold)])
def test_the_keys_of_a_threshold(table: int, model: type[Strict]) -> None:
    listed = key_tables(THRESHOLDS.read_text(encoding="utf-8"))
    assert len(listed) == 3
    assert listed[table].keys() == model.model_fields.keys()


def test_the_keys_of_a_calibration() -> None:
    listed, *_ = key_tables(THRESHOLDS.read_text(encoding="utf-8"))
    beside = listed["calibration"]
    assert [name for name in re.findall("`([^`]+)`", beside) if name != "protocol"] == [*Calibration.model_fields]


@pytest.mark.parametrize(("table", "model"), [(0, KnownAnswers), (2, KnownPredictions)])
def test_the_keys_of_what_is_known(table: int, model: type[Strict]) -> None:
    beside = key_tables(THRESHOLDS.read_text(encoding="utf-8"))[table]["known"]
    assert re.findall("`([^`]+)`", beside) == [*model.model_fields]
