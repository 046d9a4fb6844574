"""What a baseline's answers depend on, so that a stored one is reused only where all of that is equal."""

import hashlib
import json
import os
import platform
import re
import shutil
from itertools import groupby
from pathlib import Path

from harness.ask.questionnaire import Questionnaire, hash_contents
from harness.errors import HarnessError
from harness.places import ROOT, TASKS
from harness.plan.plan import BASELINE, KEY_FILE, PORT, Arm, Plan
from harness.plan.preflight import Sglang
from harness.records.predictions import FIDELITY
from harness.records.run import ArmRecord, Fingerprint, read_record
from harness.records.run_folder import RunFolder
from harness.run.versions import UNKNOWN, cpu_model, devices, driver, installed
from harness.safety import names_secret

# Variables of the harness's own environment that reach the server and may change its numbers.
RELEVANT = re.compile(r"^(SGLANG|OMP|MKL|KMP|OPENBLAS|TORCH|PYTORCH|CUDA|NCCL|HCCL|ASCEND|TRITON|HF)_")
# What builds the prompts, reads the answers and scores them.
SCORING = ("lm-eval", "datasets", "jinja2", "numpy")
OWN = frozenset({"PATH", "PYTHONPATH", "SGLANG_PLUGINS"})
# Which of a host's devices a server gets, as whoever shares them out says: what they are is among the host's facts.
VISIBLE = frozenset({"CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"})
NOT_THERE = "not there"
# Of a kind of differences.
SHOWN = 10


def make_fingerprint(plan: Plan, questionnaires: list[Questionnaire], sglang: Sglang) -> Fingerprint:
    """Return the fingerprint of the plan's baseline.

    Args:
        plan: The plan.
        questionnaires: What every server is asked.
        sglang: The SGLang that will run.

    Raises:
        OSError: The model's files cannot be read.
    """
    facts = server_facts(plan.arm(BASELINE), plan.model_path, sglang) | {
        **hashes_of_folder("harness", ROOT / "harness", "*.py"),
        # Beside its YAML a task has functions, which read and score the answers.
        **hashes_of_folder("tasks", TASKS, "*.py"),
        **hashes_of_folder("tasks", TASKS, "*.yaml"),
        "harness's packages": json.dumps({name: installed(name) for name in SCORING}),
        # Not where it was read from: the same rows of another folder are the same data.
        "data": json.dumps({**plan.data_manifest, "origin": None, "files": None}, sort_keys=True),
        **{f"data {name}": json.dumps(entry) for name, entry in plan.data_manifest.get("files", {}).items()},
        "order": json.dumps(list(plan.tasks)),
    }
    for asked in questionnaires:
        contents = asked.contents()
        facts[f"asked {asked.name}"] = (
            f"{asked.protocol_text()}; {len(contents)} {asked.unit}, {asked.concurrency} at a time; "
            f"SHA-256 {hash_contents(contents)}"
        )
    return Fingerprint(facts=facts)


def server_facts(arm: Arm, model_path: str, sglang: Sglang) -> dict[str, str]:
    """Return what the answers of a server depend on, whatever it is asked.

    Args:
        arm: The server.
        model_path: Its model.
        sglang: The SGLang that will run.

    Raises:
        OSError: The model's files cannot be read.
    """
    return {
        **hashes_of_folder("weights", Path(model_path)),
        "sglang": sglang.version,
        "packages": sglang.packages,
        # SGLang's own is there already.
        **{f"package {name}": text for name, text in sglang.every_package.items() if name != "sglang"},
        "machine": f"{platform.platform()}; {cpu_model()}; {os.cpu_count()} cores",
        "devices": f"{devices()}; driver: {driver()}",
        "arguments": json.dumps(_arguments(arm)),
        # As the server's interpreter sees it, which is a copy.
        "plugin": sglang.plugin,
        **{f"environment {name}": value for name, value in _environment(arm).items()},
    }


def adopt_baseline(folder: RunFolder, stored: RunFolder) -> None:
    """Copy a stored run's baseline, which `check_baseline` took, into this run's folder.

    Raises:
        OSError: It cannot be copied.
    """
    partial = folder.path / f"{BASELINE}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(stored.arm(BASELINE).path, partial)
    partial.rename(folder.arm(BASELINE).path)


def check_baseline(plan: Plan, stored: RunFolder, fingerprint: Fingerprint) -> None:
    """Do nothing if a stored run's baseline can stand for this run's.

    Raises:
        HarnessError: It is no run, its fingerprint differs (every difference is named), or it was not finished.
    """
    differing = differences(read_record(stored.fingerprint, Fingerprint), fingerprint)
    if not differing:
        record = read_record(stored.arm(BASELINE).record, ArmRecord)
        for name, task in plan.tasks.items():
            asked = record.tasks[name].questions if name in record.tasks else 0
            if asked != task.questions:
                differing.append(f"{name}: {asked} of {task.questions} questions were asked then")
        if plan.fidelity is not None and FIDELITY not in record.tasks:
            differing.append(f"{FIDELITY}: was not finished then")
    if differing:
        told = "\n  ".join(differing)
        raise HarnessError(
            f"the baseline of {stored.path} cannot stand for this run's: leave --reuse-baseline out, or name a run "
            f"in which this is the same:\n  {told}"
        )


def differences(then: Fingerprint, now: Fingerprint) -> list[str]:
    """Return the facts that are not the same, or are not known, each with both values; of each kind the first ten."""
    found = [
        name
        for name in sorted(now.facts.keys() | then.facts.keys())
        if then.facts.get(name) != now.facts.get(name) or then.facts.get(name) == UNKNOWN
    ]
    told: list[str] = []
    for kind, names in groupby(found, key=lambda name: name.split()[0]):
        differing = list(names)
        told += [
            f"{name}:\n    then: {then.facts.get(name, NOT_THERE)}\n    now:  {now.facts.get(name, NOT_THERE)}"
            for name in differing[:SHOWN]
        ]
        if (more := len(differing) - SHOWN) > 0:
            told.append(f"{kind}: and {more} more")
    return told


def hashes_of_folder(what: str, folder: Path, pattern: str = "*") -> dict[str, str]:
    """Return the SHA-256 of each of a folder's files, by `what` and its place there, so that a changed one is named.

    A model named by its place on a hub has no folder: `what` alone is `unknown` then.
    """
    if not folder.is_dir():
        return {what: UNKNOWN}
    found = {}
    for file in sorted(file for file in folder.rglob(pattern) if file.is_file()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        found[f"{what} {file.relative_to(folder)}"] = f"SHA-256 {digest}"
    return found


def _arguments(arm: Arm) -> list[str]:
    return [argument for argument in arm.argv[1:] if argument not in (PORT, KEY_FILE)]


def _environment(arm: Arm) -> dict[str, str]:
    """Return a hash of each variable's value: a fingerprint is shown around, and says only what is equal."""
    outer = {name: value for name, value in os.environ.items() if RELEVANT.match(name)}
    return {
        name: f"SHA-256 {hashlib.sha256(value.encode()).hexdigest()[:16]}"
        for name, value in {**outer, **arm.env}.items()
        if name not in OWN | VISIBLE and not name.startswith("HARNESS_") and not names_secret(name)
    }
