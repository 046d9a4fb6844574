"""Many calls of the command line in one process, for their number or for what they leave in it.

PYTHONPATH=CHECKOUT:ROOT python -m suites.faults.worker WHAT LAB COUNT
"""

import contextlib
import gc
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from harness.places import ROOT
from suites.faults.kinds import words_problems
from suites.faults.lab import Lab

CODES = (0, 1, 2, 3)
# Of the processor: a busy machine is no fault.
CASE_S = 20
MEMORY_BYTES = 6 * 2**30
# The first runs fill caches and pools.
WARM = 3
GROWTH_MB = 25.0
SHOWN = 20


def in_worker(lab: Lab, what: str, *, count: int) -> dict[str, Any]:
    """Do something many times in one process of a lab; return its `problems` and a `note`."""
    paths = os.pathsep.join((str(lab.checkout), str(ROOT)))
    command = [sys.executable, "-m", "suites.faults.worker", what, str(lab.place), str(count)]
    done = subprocess.run(
        command,
        cwd=lab.checkout,
        env={**lab.environment(), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"problems": [f"the process ended with {done.returncode}: {done.stderr[-300:]}"], "note": ""}
    return found


def call(arguments: list[str]) -> tuple[int, str]:
    """Call the harness's command line; return its exit code and what it wrote."""
    from harness.cli.main import main  # noqa: PLC0415 - of the lab's checkout

    said = io.StringIO()
    sys.argv = ["harness", *arguments]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main()
    return code, said.getvalue()


def try_cases(lab: Lab, count: int, one: Callable[[random.Random], tuple[str, int, str]]) -> dict[str, Any]:
    """Try `one` with every seed: it returns what it broke, the exit code and the words."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _too_long)
    problems: list[str] = []
    codes: Counter[int] = Counter()
    for seed in range(count):
        signal.setitimer(signal.ITIMER_PROF, CASE_S)
        try:
            broken, code, said = one(random.Random(seed))  # noqa: S311 - a change, no secret
        except BaseException as error:  # noqa: BLE001 - nothing may leave the command line
            problems.append(f"seed {seed}: {type(error).__name__} left the command line: {error}"[:300])
            continue
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        codes[code] += 1
        found = list(words_problems(said))
        if code not in CODES:
            found.append(f"exit code {code}")
        problems += [f"seed {seed}, {broken}: {problem}" for problem in found]
    ends = ", ".join(f"{number} with {code}" for code, number in sorted(codes.items()))
    shown = problems[:SHOWN] + ([f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])
    return {"problems": shown, "note": f"ended: {ends}; {lab.suite.stem}"}


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took more than {CASE_S} s of the processor")


def of_yaml(lab: Lab, name: str) -> Callable[[random.Random], tuple[str, int, str]]:
    """Return what changes a suite, the thresholds or a task, and plans a run of it."""
    from suites.faults.mutations import mutate_yaml  # noqa: PLC0415 - it imports this module

    tasks = lab.checkout / "suites" / "tasks"
    files = {
        "suites": [lab.suite],
        "thresholds": [lab.thresholds],
        "tasks": [tasks / "boolq.yaml", tasks / "gsm8k.yaml"],
    }
    kept = {file: file.read_bytes() for file in files[name]}

    def one(chance: random.Random) -> tuple[str, int, str]:
        file = chance.choice(files[name])
        mutate_yaml(chance, file)
        try:
            code, said = call(["suites"]) if name != "tasks" else (0, "")
            if code == 0:
                # What still is a suite must be one that can be planned, or be refused.
                code, said = call([*lab.accuracy()[3:], "--dry-run"])
        finally:
            file.write_bytes(kept[file])
        return file.name, code, said

    return one


def of_data(lab: Lab) -> Callable[[random.Random], tuple[str, int, str]]:
    """Return what changes a row of the user's data, and plans a run over it."""
    from suites.faults.mutations import mutate_folder  # noqa: PLC0415 - see above

    kept = shutil.copytree(lab.raw, lab.place / "raw-kept")

    def one(chance: random.Random) -> tuple[str, int, str]:
        shutil.rmtree(lab.raw)
        shutil.copytree(kept, lab.raw)
        name = mutate_folder(chance, lab.raw)
        code, said = call([*lab.accuracy()[3:], "--dry-run"])
        return name, code, said

    return one


def of_runs(lab: Lab) -> Callable[[random.Random], tuple[str, int, str]]:
    """Return what changes a file of a finished run, and builds its report again."""
    from suites.faults.mutations import fresh, mutate_folder  # noqa: PLC0415 - see above

    def one(chance: random.Random) -> tuple[str, int, str]:
        folder = fresh(lab.reference, lab.reports / "mutated")
        name = mutate_folder(chance, folder)
        code, said = call(["report", str(folder)])
        return name, code, said

    return one


def runs(lab: Lab, count: int) -> dict[str, Any]:
    """Run a suite again and again in this process; what it holds must not grow."""
    me, problems, seen = psutil.Process(), [], []
    for number in range(count):
        code, said = call(lab.accuracy()[3:])
        if code:
            problems.append(f"run {number} ends with {code}: {said[-200:]}")
        gc.collect()
        rest = [path for path in lab.place.rglob("*") if lab.reports not in path.parents]
        seen.append(
            {
                "MB": me.memory_info().rss / 2**20,
                "handles": me.num_fds(),
                "threads": threading.active_count(),
                "children": len(me.children(recursive=True)),
                "files": len(rest),
            }
        )
    early, late = seen[min(WARM, count) - 1], seen[-1]
    problems += [
        f"{what} grew from {early[what]} to {late[what]}"
        for what in ("handles", "threads", "children", "files")
        if late[what] > early[what]
    ]
    if late["MB"] > early["MB"] + GROWTH_MB:
        problems.append(f"memory grew from {early['MB']:.0f} to {late['MB']:.0f} MB")
    told = ", ".join(f"{what} {early[what]:.0f} to {late[what]:.0f}" for what in late)
    return {"problems": problems, "note": f"run {min(WARM, count)} to {count}: {told}"}


def main() -> None:
    """Do it and print what was found, as JSON."""
    what, place, count = sys.argv[1], Lab(Path(sys.argv[2])), int(sys.argv[3])
    if what == "one-process":
        found = runs(place, count)
    elif what.startswith("damages:"):
        from suites.faults.stored import damage_all  # noqa: PLC0415 - see above

        found = damage_all(place, what.removeprefix("damages:"), lambda folder: call(["report", str(folder)]))
    else:
        one = of_data(place) if what == "data" else of_runs(place) if what == "runs" else of_yaml(place, what)
        found = try_cases(place, count, one)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
