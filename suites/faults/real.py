"""Faults that need real servers, SGLang on the CPU: its ranks, detokenizer, launcher and guard are killed.

`nox -s faults -- --real`; HARNESS_SERVER_PYTHON and HARNESS_PLUGIN_PATH say where SGLang and the plugin are.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import psutil

from harness.places import ROOT, cache
from suites.faults.invariants import differences, folder_problems, verdict_problems
from suites.faults.kinds import ERROR, INCONCLUSIVE, KILLED, Expected, Kind, Seen
from suites.faults.lab import MARK, Lab, Running

LIMIT = 8
PATIENCE_S = 900.0
# A process is known by what SGLang calls it, the guard by its module.
PROCESSES = {
    "rank 0": re.compile("scheduler_TP0"),
    "rank 1": re.compile("scheduler_TP1"),
    "the detokenizer": re.compile("detokenizer"),
    "the launcher": re.compile(r"bin/sglang\W+serve"),
    "the guard": re.compile(r"harness\.serve\.guard"),
    "the harness": re.compile(r"-m\W+harness\W+accuracy"),
}
IN_PREFILL, BETWEEN_TASKS, AT_START = "in prefill", "between tasks", "at its start"
# What the plugin's copy does on rank 1, in place of its own start.
ON_RANK_1 = {
    "missing": "return",
    "failing": "raise OSError('the campaign told it to fail')",
}
PLANT = """

_whole = Recorder.start


def _planted(self, rank, facts):
    if rank == 1:
        {what}
    _whole(self, rank, facts)


Recorder.start = _planted
"""


def kinds(*, runs: int) -> Iterator[Kind]:
    """Yield them, with so many runs in a row."""
    for victim, moment in (
        ("the launcher", AT_START),
        ("the guard", AT_START),
        ("rank 1", AT_START),
        ("rank 0", IN_PREFILL),
        ("rank 1", IN_PREFILL),
        ("the detokenizer", IN_PREFILL),
        ("the guard", IN_PREFILL),
        ("rank 1", BETWEEN_TASKS),
    ):
        yield _kind(f"SIGKILL to {victim} {moment}", partial(_kill, victim, moment), (ERROR,))
    for moment in (AT_START, BETWEEN_TASKS):
        yield _kind(f"SIGKILL to the harness {moment}", partial(_kill, "the harness", moment), (KILLED,))
    yield _kind("SIGKILL to the harness in prefill, and --resume", _resumed, (KILLED,))
    yield _kind("SIGSTOP to rank 1 in prefill", _stopped_rank, (ERROR,))
    for how in ON_RANK_1:
        yield _kind(f"the plugin is {how} on rank 1", partial(_plugin, how), (ERROR,), "rank 1|ended with exit code")
    yield _kind("the baseline gets the flag", partial(_flag, 'set -- "$@" --enable-quant-communications'), (ERROR,))
    without = 'for a do shift; [ "$a" = --enable-quant-communications ] || set -- "$@" "$a"; done'
    yield _kind("the compressed arm does not get the flag", partial(_flag, without), (ERROR,), "compressed")
    yield _kind(f"{runs} runs in a row", partial(_in_a_row, runs), (INCONCLUSIVE,))


def _kind(name: str, act: Callable[[Lab], Seen], codes: tuple[int, ...], says: str = "") -> Kind:
    expected = Expected(codes=codes, says=says, within_s=PATIENCE_S)
    return Kind(name=name, family="real servers", where="SGLang, CPU, TP 2", expected=expected, act=act, real=True)


def _start(lab: Lab, *arguments: str, env: Mapping[str, str] | None = None) -> Running:
    """Start a short run of the default suite, from this checkout unless the lab's has real suites."""
    if lab.suite.exists():
        lab.checkout = ROOT
    own = (f"--limit={LIMIT}", f"--reports={lab.reports}")
    command = lab.harness("accuracy", *own, *arguments)
    return Running(lab, command, {**os.environ, "HARNESS_CACHE": str(cache()), MARK: str(lab.place), **(env or {})})


def _find(lab: Lab, victim: str) -> psutil.Process | None:
    for process in lab.processes():
        try:
            if PROCESSES[victim].search(" ".join(process.cmdline())):
                return process
        except psutil.NoSuchProcess:
            continue
    return None


def _reached(lab: Lab, victim: str, moment: str) -> bool:
    if moment == AT_START:
        return _find(lab, victim) is not None
    folder = lab.latest
    if folder is None:
        return False
    requests, second = folder / "baseline" / "requests.jsonl", folder / "baseline" / "samples-boolq.jsonl"
    return requests.exists() and bool(requests.stat().st_size) if moment == IN_PREFILL else second.exists()


def _strike(lab: Lab, running: Running, victim: str, moment: str, number: signal.Signals) -> str:
    """Send a process a signal when the moment is there; return why it could not be, or nothing."""
    while not _reached(lab, victim, moment):
        if running.process.poll() is not None:
            return f"the run ended before {moment}"
        time.sleep(0.05)
    process = _find(lab, victim)
    if process is None:
        return f"there is no process of {victim}"
    process.send_signal(number)
    return ""


def _struck(victim: str, moment: str, number: signal.Signals, lab: Lab) -> Seen:
    running = _start(lab)
    missed = _strike(lab, running, victim, moment, number)
    ended = running.wait(PATIENCE_S)
    seen = Seen(ended=[ended], problems=[missed] if missed else [])
    if (folder := lab.latest) is not None:
        killed = victim == "the harness"
        seen.problems += folder_problems(folder, torn=killed)
        seen.problems += [] if killed else verdict_problems(folder, ended)
    return seen


def _kill(victim: str, moment: str, lab: Lab) -> Seen:
    return _struck(victim, moment, signal.SIGKILL, lab)


def _stopped_rank(lab: Lab) -> Seen:
    """A rank that hangs: the suite's deadline is ten minutes, that of a copy of it one."""
    lab.suite.unlink()
    shutil.copytree(ROOT / "suites" / "accuracy", lab.suite.parent, dirs_exist_ok=True)
    shutil.copy(ROOT / "thresholds.yaml", lab.thresholds)
    suite = lab.suite.with_name("smollm2-cpu.yaml")
    suite.write_text(suite.read_text() + "request_timeout_s: 60\n")
    return _struck("rank 1", IN_PREFILL, signal.SIGSTOP, lab)


def _resumed(lab: Lab) -> Seen:
    seen = _kill("the harness", IN_PREFILL, lab)
    broken = lab.latest
    if broken is None:
        return seen
    resumed = Running(lab, lab.harness("accuracy", f"--resume={broken}"), {**os.environ, MARK: str(lab.place)}).wait(
        PATIENCE_S
    )
    if resumed.code != INCONCLUSIVE:
        seen.problems.append(f"--resume ends with {resumed.code}: {resumed.said[-200:]}")
        return seen
    unbroken = _start(lab).wait(PATIENCE_S)
    reference = lab.latest
    if unbroken.code != INCONCLUSIVE or reference is None:
        seen.problems.append(f"the unbroken run ends with {unbroken.code}")
    else:
        seen.problems += [f"resumed: {difference}" for difference in differences(reference, broken)]
    return seen


def _plugin(how: str, lab: Lab) -> Seen:
    shutil.rmtree(lab.plugin)
    shutil.copytree(os.environ["HARNESS_PLUGIN_PATH"], lab.plugin)
    recorder = lab.plugin / "harness" / "sglang_plugin" / "recorder.py"
    recorder.write_text(recorder.read_text() + PLANT.format(what=ON_RANK_1[how]))
    return Seen(ended=[_start(lab, env={"HARNESS_PLUGIN_PATH": str(lab.plugin)}).wait(PATIENCE_S)])


def _flag(change: str, lab: Lab) -> Seen:
    """Put a script in the place of SGLang's command that changes what the harness gave it."""
    real = Path(os.environ["HARNESS_SERVER_PYTHON"])
    for name, line in (("python", f'exec {real} "$@"'), ("sglang", f'{change}\nexec {real.parent / "sglang"} "$@"')):
        script = lab.python.parent / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    return Seen(ended=[_start(lab, env={"HARNESS_SERVER_PYTHON": str(lab.python)}).wait(PATIENCE_S)])


def _in_a_row(count: int, lab: Lab) -> Seen:
    ended = [_start(lab).wait(PATIENCE_S) for _ in range(count)]
    runs = sorted(path for path in lab.reports.iterdir() if path.is_dir() and not path.is_symlink())
    problems = [f"{run.name}: {text}" for run in runs[1:] for text in differences(runs[0], run)]
    peaks = [run.peak_mb for run in ended]
    note = f"memory of the harness {min(peaks):.0f} to {max(peaks):.0f} MB"
    return Seen(ended=ended, problems=problems, cases=count, note=note)
