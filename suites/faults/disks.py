"""Disks that are full or cannot be written, at every writer; clocks that jump."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from suites.faults.invariants import folder_problems
from suites.faults.kinds import ERROR, PASS, Expected, Kind, Seen
from suites.faults.lab import Lab
from suites.faults.served import resuming_problems

WORDS = "cannot be written|disk full|no space|too large|read-only|permission|not a directory|not permitted"
# Shares of a finished run's size at which a disk is full.
SHARES = (0.05, 0.3, 0.6, 0.95)
# Takes from a superuser what lets it write where modes forbid it.
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* The real-time clock of one process tree: it jumps at a moment of the monotonic clock. */
int clock_gettime(clockid_t which, struct timespec *now) {
    static long after = 0, by = 0;
    if (!after) { after = atol(getenv("CLOCK_AFTER")); by = atol(getenv("CLOCK_BY")); }
    int result = syscall(SYS_clock_gettime, which, now);
    if (which == CLOCK_REALTIME) {
        struct timespec steady;
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
        if (steady.tv_sec >= after) now->tv_sec += by;
    }
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""
DAY_S = 86400


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    for moment, arm, when in (
        ("when the first server starts", "baseline", "start"),
        ("at the known answer", "baseline", "known"),
        ("in a task", "baseline", "20"),
        ("between tasks", "baseline", "flush2"),
        ("when the second server starts", "compressed", "start"),
        ("at the last text", "compressed", "=78"),
    ):
        modes = {arm: f"fills-disk-of-harness@{when}"}
        yield _kind(f"full for the harness {moment}", modes, short=moment == "in a task")
    yield _kind("full for the ranks' logs", {"baseline": "fills-disk-of-server@20"}, says="")
    for share in SHARES:
        yield Kind(
            name=f"a disk that holds {share:.0%} of a run",
            family="disk",
            where="a tmpfs of that size under reports/",
            # What is written last is the memory of runs, without which a run is whole.
            expected=Expected(codes=(ERROR, PASS) if share == SHARES[-1] else (ERROR,), says=f"{WORDS}|disk is full"),
            act=partial(_small_disk, share),
        )
    yield _kind("the run's folder becomes read-only in a task", {"baseline": "locks-run-folder@20"}, locked=True)
    yield _kind(
        "the run's folder is moved away in a task", {"baseline": "moves-run-folder@20"}, says="", resumes=False
    )
    for name, act in (
        ("reports/ is read-only", _reports_locked),
        ("reports/ is a file", _reports_is_file),
        ("the cache is read-only", _cache_locked),
    ):
        expected = Expected(codes=(ERROR,), says=WORDS)
        yield Kind(
            name=name,
            family="disk",
            where="before the start",
            expected=expected,
            act=act,
            short=act is _reports_locked,
        )
    expected = Expected(codes=(PASS,))
    yield Kind(
        name="the checkout is read-only",
        family="disk",
        where="before the start",
        expected=expected,
        act=_checkout_locked,
    )
    for name, after_s, by_s in (
        ("a day on", 3, DAY_S),
        ("a day back", 3, -DAY_S),
        ("ten years back", 3, -3650 * DAY_S),
        ("back, again and again", 0, -DAY_S),
    ):
        yield Kind(
            name=f"the clock jumps {name}",
            family="clock",
            where="every process of the run",
            expected=expected,
            act=partial(_clock_jumps, after_s, by_s),
            short=name == "a day back",
        )


def _kind(
    name: str,
    modes: dict[str, str],
    *,
    says: str = WORDS,
    locked: bool = False,
    resumes: bool = True,
    short: bool = False,
) -> Kind:
    def act(lab: Lab) -> Seen:
        command = [*(_unprivileged() if locked else ()), *lab.accuracy()]
        seen = Seen(ended=[lab.start(command, modes).wait()])
        if (folder := lab.latest) is not None:
            seen.problems += folder_problems(folder, torn=True)
            if resumes:
                seen.problems += resuming_problems(lab, folder)
        return seen

    where = ", ".join(f"{arm}: {mode}" for arm, mode in modes.items())
    expected = Expected(codes=(ERROR,), says=says)
    return Kind(name=name, family="disk", where=where, expected=expected, act=act, short=short)


def _unprivileged() -> tuple[str, ...]:
    return UNPRIVILEGED if os.geteuid() == 0 else ()


def _small_disk(share: float, lab: Lab) -> Seen:
    """Run into a real ENOSPC: only a superuser may mount a file system of a given size."""
    size = int(share * sum(path.stat().st_blocks * 512 for path in lab.reference.rglob("*")))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(lab.reports)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return Seen(note="not run: no file system may be mounted here", cases=0)
    try:
        ended = lab.run()
        kept = lab.place / "kept"
        folder = lab.latest
        seen = Seen(ended=[ended])
        if folder is not None:
            seen.problems += folder_problems(folder, torn=True)
            shutil.copytree(folder, kept)
    finally:
        subprocess.run(["umount", str(lab.reports)], check=True)  # noqa: S607 - the system's own
    return seen


def _locked_run(lab: Lab, locked: Path, mode: int = 0o500) -> Seen:
    folders = [locked, *(path for path in locked.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(mode)
    try:
        seen = Seen(ended=[lab.start([*_unprivileged(), *lab.accuracy()]).wait()])
    finally:
        for folder in folders:
            folder.chmod(0o700)
    return seen


def _reports_locked(lab: Lab) -> Seen:
    return _locked_run(lab, lab.reports)


def _cache_locked(lab: Lab) -> Seen:
    return _locked_run(lab, lab.cache)


def _checkout_locked(lab: Lab) -> Seen:
    return _locked_run(lab, lab.checkout)


def _reports_is_file(lab: Lab) -> Seen:
    lab.reports.rmdir()
    lab.reports.write_text("no folder")
    try:
        return Seen(ended=[lab.run()])
    finally:
        lab.reports.unlink()
        lab.reports.mkdir()


def _clock_jumps(after_s: int, by_s: int, lab: Lab) -> Seen:
    compiler = shutil.which("cc")
    if compiler is None:
        return Seen(note="not run: there is no C compiler", cases=0)
    source, library = lab.place / "clock.c", lab.place / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    steady = int(Path("/proc/uptime").read_text().split(".")[0])
    more = {"LD_PRELOAD": str(library), "CLOCK_AFTER": str(steady + after_s), "CLOCK_BY": str(by_s)}
    ended = lab.run(env=more)
    folder = lab.latest
    return Seen(ended=[ended], problems=[] if folder is None else list(folder_problems(folder)))
