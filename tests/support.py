"""What plans are made of: an interpreter, a model, data, options; and how their servers start."""

import json
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.config.load import load
from harness.places import THRESHOLDS
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.serve.server import Start

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MANIFEST = {"source": "packaged", "origin": {"boolq": "somewhere"}, "files": {}}
GSM8K_ROWS = [
    {"question": f"What is {number} and 1?", "answer": f"It is {number + 1}.\n#### {number + 1}"}
    for number in range(9)
]
PASSAGES = [
    {"question": f"is it {number}", "passage": f"It is {number}.", "label": number % 2} for number in range(4)
]
# A task of one's own; `answer` is a choice's number.
OWN_TASK: dict[str, Any] = {
    "task": "mine",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc"}],
    "metadata": {"version": 1.0, "data_files": {"test": "mine.jsonl"}},
}


def write_rows(file: Path, rows: Iterable[object]) -> None:
    """Write one JSON value a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def safetensors(data: int = 16) -> bytes:
    """Return a whole safetensors file with one tensor of `data` bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [data // 4], "data_offsets": [0, data]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data)


def write_model(folder: Path) -> Path:
    """Write what a model's folder must hold."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def write_interpreter(folder: Path, script: str = "exit 9") -> Path:
    """Write a shell script in place of an interpreter that has SGLang."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sglang").write_text("#!/bin/sh\nexit 9\n")
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return python


def make_options(folder: Path, **changed: Any) -> Options:
    """Return options whose interpreter, plugin and model are made on first use below `folder`."""
    python, plugin, model = folder / "bin" / "python", folder / "plugin", folder / "model"
    if not python.exists():
        write_interpreter(python.parent)
    (plugin / "harness" / "sglang_plugin").mkdir(parents=True, exist_ok=True)
    if not model.exists():
        write_model(model)
    usual = {
        "suite": "smollm2-cpu",
        "server_python": python,
        "plugin_path": plugin,
        "model_path": str(model),
        "reports": folder / "reports",
    }
    return Options(**{**usual, **changed})


def write_judging_thresholds(folder: Path) -> Path:
    """Write the project's thresholds with a row for the default suite's BoolQ as a model has that can do BoolQ."""
    yaml = YAML()
    content = yaml.load(THRESHOLDS.read_text(encoding="utf-8"))
    row = content["models"]["SmolLM2-135M-Instruct"]["boolq"]
    del row["report_only"]
    row |= {"max_drop": 0.1, "min_questions": 64}
    file = folder / "thresholds.yaml"
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(content, out)
    return file


def make(folder: Path, *, data: Path | None = None, **changed: Any) -> Plan:
    """Plan one of the project's own suites, with a row of BoolQ that judges."""
    options = make_options(folder, **changed)
    suite, thresholds = load(options.suite, thresholds=write_judging_thresholds(folder))
    return make_plan(
        suite,
        thresholds,
        options,
        data=data or folder / "data",
        data_manifest=MANIFEST,
        repeat="nox -s accuracy --",
        now=NOW,
    )


def run_folder(plan: Plan) -> RunFolder:
    """Return where a plan's run writes."""
    return RunFolder(Path(plan.folder))


def whole_tables(lines: Sequence[str]) -> list[list[str]]:
    """Return the tables of a Markdown text, each with its head; a line that is cut, or alone, fails."""
    tables = [list(rows) for is_row, rows in groupby(lines, key=lambda line: line.startswith("|")) if is_row]
    assert tables
    for table in tables:
        assert table[1].replace(" ", "").startswith("|---")
        assert all(row.endswith("|") for row in table)
        assert len({row.count("|") for row in table}) == 1, table
    return tables


def start_of(plan: Plan) -> Start:
    """Return how a plan's servers are started."""
    return Start(
        tp=plan.tp,
        known_answer=plan.known_answer,
        start_timeout_s=plan.start_timeout_s,
        request_timeout_s=plan.request_timeout_s,
    )
