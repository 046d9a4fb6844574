"""What a baseline's answers depend on, so that a stored one is reused only where all of that is equal."""

import hashlib
import json
import os
import platform
import re
import shutil
from pathlib import Path

from harness import records
from harness.config import ROOT
from harness.errors import HarnessError
from harness.evaluate import Task
from harness.fidelity.measure import protocol_text
from harness.fidelity.records import FIDELITY
from harness.fidelity.texts import build_texts, hash_texts
from harness.plan import API_KEY, BASELINE, PORT, Arm, Plan
from harness.preflight import Sglang
from harness.records import ArmRecord
from harness.yaml_file import Strict

# Variables of the harness's own environment that reach the server and may change its numbers.
RELEVANT = re.compile(r"^(SGLANG|OMP|MKL|KMP|OPENBLAS|TORCH|PYTORCH|CUDA|NCCL|HCCL|ASCEND|TRITON|HF)_")
OWN = frozenset({"PATH", "PYTHONPATH", "SGLANG_PLUGINS"})
UNKNOWN = "unknown"


class Fingerprint(Strict):
    """Everything that the baseline's answers depend on, by name.

    Attributes:
        facts: A hash or a text for each.
    """

    facts: dict[str, str]


def make_fingerprint(plan: Plan, tasks: list[Task], sglang: Sglang) -> Fingerprint:
    """Return the fingerprint of the plan's baseline.

    Args:
        plan: The plan.
        tasks: Its tasks, loaded.
        sglang: The SGLang that will run.

    Raises:
        HarnessError: The data lacks texts to predict.
        OSError: The model's files cannot be read.
    """
    arm = plan.arm(BASELINE)
    facts = {
        "weights": hash_of_folder(Path(plan.model_path)),
        "sglang": sglang.version,
        "packages": sglang.packages,
        "harness": hash_of_folder(ROOT / "harness", "*.py"),
        "machine": f"{platform.platform()}; {cpu_model()}; {os.cpu_count()} cores",
        "arguments": json.dumps(_arguments(arm)),
        "environment": json.dumps(_environment(arm), sort_keys=True),
        "data": json.dumps(plan.data_manifest, sort_keys=True),
        "order": json.dumps(list(plan.tasks)),
    }
    for task in tasks:
        facts[f"task {task.name}"] = (
            f"{task.protocol_text()}; {task.plan.questions} questions, {task.plan.concurrency} at a time; "
            f"prompts {hashlib.sha256(json.dumps(task.prompts()).encode()).hexdigest()}"
        )
    if plan.fidelity is not None:
        texts = build_texts(Path(plan.data), plan.fidelity.texts)
        asked = f"{plan.fidelity.concurrency} at a time"
        facts[FIDELITY] = f"{protocol_text(plan.fidelity)}; {asked}; texts {hash_texts(texts)}"
    return Fingerprint(facts=facts)


def adopt_baseline(plan: Plan, stored: Path, fingerprint: Fingerprint) -> None:
    """Copy a stored run's baseline into the plan's folder.

    Args:
        plan: The plan.
        stored: The earlier run's folder.
        fingerprint: This run's.

    Raises:
        HarnessError: It is no run, its fingerprint differs (every difference is named), or it was not finished.
    """
    theirs = records.read(stored / records.FINGERPRINT, Fingerprint)
    names = sorted(fingerprint.facts.keys() | theirs.facts.keys())
    differing = [
        f"{name}:\n    then: {theirs.facts.get(name)}\n    now:  {fingerprint.facts.get(name)}"
        for name in names
        if theirs.facts.get(name) != fingerprint.facts.get(name) or theirs.facts.get(name) == UNKNOWN
    ]
    if not differing:
        record = records.read(stored / BASELINE / records.ARM, ArmRecord)
        for name, task in plan.tasks.items():
            asked = record.tasks[name].questions if name in record.tasks else 0
            if asked != task.questions:
                differing.append(f"{name}: {asked} of {task.questions} questions were asked then")
        if plan.fidelity is not None and FIDELITY not in record.tasks:
            differing.append(f"{FIDELITY}: was not finished then")
    if differing:
        told = "\n  ".join(differing)
        raise HarnessError(
            f"the baseline of {stored} cannot stand for this run's: leave --reuse-baseline out, or name a run in "
            f"which this is the same:\n  {told}"
        )
    shutil.copytree(stored / BASELINE, Path(plan.folder) / BASELINE)


def hash_of_folder(folder: Path, pattern: str = "*") -> str:
    """Return the SHA-256 over a folder's files, names and contents; `unknown` where there is no such folder.

    A model named by its place on a hub has none.
    """
    if not folder.is_dir():
        return UNKNOWN
    whole = hashlib.sha256()
    for file in sorted(of for of in folder.rglob(pattern) if of.is_file()):
        with file.open("rb") as content:
            whole.update(
                f"{file.relative_to(folder)} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
            )
    return whole.hexdigest()


def cpu_model() -> str:
    """Return the processor's name, as the system tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or UNKNOWN


def _arguments(arm: Arm) -> list[str]:
    return [argument for argument in arm.argv[1:] if argument not in (PORT, API_KEY)]


def _environment(arm: Arm) -> dict[str, str]:
    outer = {name: value for name, value in os.environ.items() if RELEVANT.match(name)}
    return {
        name: value
        for name, value in {**outer, **arm.env}.items()
        if name not in OWN and not name.startswith("HARNESS_")
    }
