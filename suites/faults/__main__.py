"""Runs the campaign of faults: `nox -s faults`.

Exit code 0 where the harness made of every fault what it has to, 1 where it did not, 3 where the campaign cannot run.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.places import ROOT, point_latest
from harness.records.run import read_lines
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
    parser.add_argument("--into", type=Path, help="a folder of an earlier part: what it has is not tried again")
    parser.add_argument("--out", type=Path, help="the folder that reliability.md goes to; default: one of reports/")
    chosen = parser.parse_args(arguments)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under nohup. What is started inherits that and, rightly, outlives the hang-up that is tried; a handler not.
        signal.signal(signal.SIGHUP, lambda *_: None)
    todo = chosen_kinds(short=chosen.short, with_real=chosen.real, only=chosen.only, real_runs=chosen.real_runs)
    now = datetime.now(UTC)
    folder = chosen.into or ROOT / "reports" / f"{now:%Y%m%d-%H%M%S}-faults"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    rows = {(row.family, row.name): row for row in (read_lines(kept, Row, "rows") if kept.exists() else [])}
    commit = harness_versions("")["harness"]
    left = [kind for kind in todo if (kind.family, kind.name) not in rows]
    with tempfile.TemporaryDirectory(prefix=f"faults-{os.getpid()}-", ignore_cleanup_errors=True) as scratch:
        try:
            base = Lab.build(Path(scratch) / "base") if left else Lab(Path(scratch))
        except RuntimeError as error:
            sys.stderr.write(f"ERROR\n{error}\n")
            return ERROR
        with ThreadPoolExecutor(chosen.at_once) as pool, kept.open("a", encoding="utf-8") as file:
            for row in pool.map(partial(tried, base, Path(scratch), commit), range(len(left)), left):
                rows[row.family, row.name] = row
                file.write(f"{row.model_dump_json()}\n")
                file.flush()
    form = "the short form" if chosen.short else f"kinds of “{chosen.only}”" if chosen.only else "all kinds"
    form += "" if chosen.real else ", without real servers"
    shown = [rows[kind.family, kind.name] for kind in todo]
    page = (chosen.out or folder) / ("reliability.md" if chosen.out else "report.md")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(document(shown, form=form), encoding="utf-8")
    if folder.parent == ROOT / "reports":
        point_latest(folder, "latest-faults")
    bad = [row for row in shown if row.problems]
    sys.stdout.write(f"{len(shown)} kinds, {len(bad)} not as expected: {page}; kept in {folder}\n")
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


def tried(base: Lab, scratch: Path, commit: str, number: int, kind: Kind) -> Row:
    """Do one kind in a lab of its own, tell it, and return its line."""
    started = time.monotonic()
    lab = base.copy(scratch / f"lab-{number}")
    try:
        seen = kind.act(lab)
    except Exception as error:  # noqa: BLE001 - the next kind is to be tried all the same
        seen = Seen(problems=[f"the campaign itself failed: {error!r}"])
    row = judge(kind, seen, time.monotonic() - started, commit=commit)
    shutil.rmtree(lab.place, ignore_errors=True)
    told = "ok " if not row.problems else "BAD"
    lines = [f"{told} {row.seconds:5.1f} s  {kind.family}: {kind.name}: {row.seen}"]
    lines += [f"      {problem}" for problem in row.problems]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    sys.exit(main())
