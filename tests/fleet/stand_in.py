"""Stands in for `python -m harness arm` where arms are to be light: its plan's data is a run whose arms it copies.

    python -m tests.fleet.stand_in FOLDER --arm=NAME --before=SECONDS

Where it is, is STAND_IN_HOST: its fingerprint. It writes down in ledger.jsonl beside the data that it began. A file
beside the data, slow.txt, says how many seconds it takes; ARM.dies, how often this arm's server is to die.
"""

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any


def ended(folder: Path, outcome: str, error: str = "") -> int:
    end: dict[str, Any] = {"outcome": outcome, "error": error, "seconds": 1.0, "versions": {"sglang": "0.5.23"}}
    (folder / "ended.json").write_text(json.dumps(end))
    return 3 if error else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arm", required=True)
    parser.add_argument("--before", type=float, required=True)
    asked = parser.parse_args()
    folder: Path = asked.folder
    plan = json.loads((folder / "plan.json").read_text())
    data, host = Path(plan["data"]), os.environ.get("STAND_IN_HOST", "alike")
    with (data.parent / "ledger.jsonl").open("a") as ledger:
        ledger.write(json.dumps({"run": plan["run_id"], "arm": asked.arm, "host": host}) + "\n")
    facts = {"facts": {"machine": host}}
    fingerprint = folder / "fingerprint.json"
    if fingerprint.exists() and json.loads(fingerprint.read_text()) != facts:
        return ended(folder, "unlike", f"machine: now: {host}")
    slow = data.parent / "slow.txt"
    time.sleep(float(slow.read_text()) if slow.exists() else 0.0)
    dies = data.parent / f"{asked.arm}.dies"
    if dies.exists() and (left := int(dies.read_text())) > 0:
        dies.write_text(str(left - 1))
        return ended(folder, "died", f"{asked.arm}: the server ended with exit code 9 during the run")
    fingerprint.write_text(json.dumps(facts))
    shutil.copytree(data / asked.arm, folder / asked.arm)
    return ended(folder, "done")


if __name__ == "__main__":
    raise SystemExit(main())
