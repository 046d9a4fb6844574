"""Runs the campaign of faults: `nox -s faults`.

Exit code 0 where the harness made of every fault what it has to, 1 where it did not, 3 where the campaign cannot run.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.places import ROOT, point_latest
from harness.run.versions import harness_versions
from suites.faults import answers, crowds, disks, doors, ends, mutations, proofs, real, sockets, stored, workflow
from suites.faults.kinds import ERROR, FAIL, PASS, Kind, Row, Seen, judge
from suites.faults.lab import Lab
from suites.faults.table import document

AT_ONCE = 2
REAL_RUNS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and return its exit code."""
    parser = argparse.ArgumentParser(prog="nox -s faults --", description=__doc__, allow_abbrev=False)
    parser.add_argument("--short", action="store_true", help="the form for CI: the fault server alone, minutes")
    parser.add_argument("--real", action="store_true", help="real servers on the CPU too")
    parser.add_argument("--real-runs", type=int, default=REAL_RUNS, help="how many real runs in a row")
    parser.add_argument("--only", default="", help="kinds whose family or name holds this regular expression")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many kinds at once")
    parser.add_argument("--out", type=Path, help="the folder that reliability.md goes to; default: one of reports/")
    chosen = parser.parse_args(arguments)
    todo = chosen_kinds(short=chosen.short, with_real=chosen.real, only=chosen.only, real_runs=chosen.real_runs)
    with tempfile.TemporaryDirectory(prefix=f"faults-{os.getpid()}-", ignore_cleanup_errors=True) as scratch:
        try:
            base = Lab.build(Path(scratch) / "base")
        except RuntimeError as error:
            sys.stderr.write(f"ERROR\n{error}\n")
            return ERROR
        with ThreadPoolExecutor(chosen.at_once) as pool:
            rows = list(pool.map(partial(tried, base, Path(scratch)), range(len(todo)), todo))
    form = "the short form" if chosen.short else f"kinds of “{chosen.only}”" if chosen.only else "all kinds"
    form += "" if chosen.real else ", without real servers"
    now = datetime.now(UTC)
    text = document(rows, today=now.date(), form=form, version=harness_versions("")["harness"])
    if chosen.out:
        file = chosen.out / "reliability.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    else:
        folder = ROOT / "reports" / f"{now:%Y%m%d-%H%M%S}-faults"
        folder.mkdir(parents=True)
        file = folder / "report.md"
        file.write_text(text, encoding="utf-8")
        point_latest(folder, "latest-faults")
    bad = [row for row in rows if row.problems]
    sys.stdout.write(f"{len(rows)} kinds, {len(bad)} not as expected: {file}\n")
    return FAIL if bad else PASS


def chosen_kinds(*, short: bool, with_real: bool, only: str = "", real_runs: int = REAL_RUNS) -> list[Kind]:
    """Return the kinds of a form of the campaign, by family."""
    every = [
        *answers.kinds(),
        *proofs.kinds(),
        *ends.kinds(short=short),
        *disks.kinds(),
        *stored.kinds(),
        *doors.kinds(),
        *workflow.kinds(),
        *crowds.kinds(),
        *mutations.kinds(short=short),
        *real.kinds(runs=real_runs),
        *sockets.kinds(),
    ]
    return [
        kind
        for kind in every
        if (kind.short or not short)
        and (with_real or not kind.real)
        and re.search(only, f"{kind.family}: {kind.name}")
    ]


def tried(base: Lab, scratch: Path, number: int, kind: Kind) -> Row:
    """Do one kind in a lab of its own, tell it, and return its line."""
    started = time.monotonic()
    lab = base.copy(scratch / f"lab-{number}")
    try:
        seen = kind.act(lab)
    except Exception as error:  # noqa: BLE001 - the next kind is to be tried all the same
        seen = Seen(problems=[f"the campaign itself failed: {error!r}"])
    row = judge(kind, seen, time.monotonic() - started)
    shutil.rmtree(lab.place, ignore_errors=True)
    told = "ok " if not row.problems else "BAD"
    lines = [f"{told} {row.seconds:5.1f} s  {kind.family}: {kind.name}: {row.seen}"]
    lines += [f"      {problem}" for problem in row.problems]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    sys.exit(main())
