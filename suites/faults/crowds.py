"""Several runs at once, many in a row, runs that stand for another: nothing may mix, grow or go stale."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from suites.faults.invariants import differences
from suites.faults.kinds import ERROR, KILLED, PASS, Expected, Kind, Seen
from suites.faults.lab import Lab
from suites.faults.rank_logs import SGLANG
from suites.faults.worker import in_worker

AT_ONCE = 4
IN_A_ROW = 10
# What a process may grow by from the third run to the last.
GROWTH_MB = 25.0


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    family, passes = "crowds", Expected(codes=(PASS,), within_s=120)
    for name, act, short in (
        (f"{AT_ONCE} runs at once", _at_once, True),
        (f"{AT_ONCE} runs at once over data that is not prepared", _at_once_unprepared, False),
        (f"{IN_A_ROW} runs in a row", partial(_in_a_row, IN_A_ROW), False),
        ("`latest` after a run that was killed", _latest_after_a_kill, True),
    ):
        expected = passes if "killed" not in name else Expected(codes=(PASS, KILLED))
        yield Kind(name=name, family=family, where="one checkout", expected=expected, act=act, short=short)
    grows = Expected(codes=(PASS,))
    yield Kind(
        name=f"{IN_A_ROW} runs in one process",
        family=family,
        where="memory, handles, threads, files, processes",
        expected=grows,
        act=partial(_in_one_process, IN_A_ROW),
    )
    for name, change, says in (
        ("nothing changed", None, ""),
        ("a task's YAML", _task_yaml, "boolq"),
        ("a task's Python", _task_python, "task"),
        ("a row of the data", _row, "data"),
        ("the model's weights", _weights, "weights"),
        ("the plugin's code", _plugin, "plugin"),
        ("SGLang's version", _version, "sglang"),
        ("the suite's arguments", _arguments, "arguments"),
        ("lm-eval's version", _lm_eval, "lm.eval"),
    ):
        for option in ("--reuse-baseline", "--resume"):
            # A run that goes on has its plan, and the data that it prepared.
            same = change is None or (option == "--resume" and change in {_row, _arguments})
            expected = Expected(codes=(PASS,)) if same else Expected(codes=(ERROR,), says=says)
            where = f"{option} of a run before it"
            act = partial(_after_a_change, option, change, same)
            short = change is _task_python
            yield Kind(name=f"{name}, {option}", family="reuse", where=where, expected=expected, act=act, short=short)


def _runs(lab: Lab) -> list[Path]:
    return sorted(path for path in lab.reports.iterdir() if path.is_dir() and not path.is_symlink())


def _same(lab: Lab, count: int) -> list[str]:
    runs = _runs(lab)
    problems = [] if len(runs) == count else [f"{count} runs left {len(runs)} folders"]
    problems += [f"{run.name}: {text}" for run in runs for text in differences(lab.reference, run)]
    link = lab.reports / "latest"
    if link.resolve() not in runs:
        problems.append("`latest` leads to none of them")
    return problems


def _at_once(lab: Lab) -> Seen:
    """Started in the same second: a folder's name is the time."""
    running = [lab.start(lab.accuracy()) for _ in range(AT_ONCE)]
    ended = [run.wait() for run in running]
    return Seen(ended=ended, problems=_same(lab, AT_ONCE), cases=AT_ONCE)


def _at_once_unprepared(lab: Lab) -> Seen:
    import shutil  # noqa: PLC0415 - here alone

    shutil.rmtree(lab.cache)
    return _at_once(lab)


def _in_a_row(count: int, lab: Lab) -> Seen:
    before = _traces()
    ended = [lab.run() for _ in range(count)]
    after = _traces()
    problems = _same(lab, count)
    problems += [f"left behind: {trace}" for trace in sorted(after - before)]
    peaks = [run.peak_mb for run in ended]
    if max(peaks) - min(peaks) > GROWTH_MB:
        problems.append(f"peaks of memory from {min(peaks):.0f} to {max(peaks):.0f} MB")
    note = f"memory at most {max(peaks):.0f} MB, {max(peaks) - min(peaks):.1f} MB apart"
    return Seen(ended=ended, problems=problems, cases=count, note=note)


def _traces() -> set[str]:
    """Return what a run could leave where other programs are: temporary files, shared memory."""
    own = f"faults-{os.getpid()}"
    return {
        str(path)
        for folder in (Path(os.environ.get("TMPDIR", "/tmp")), Path("/dev/shm"))  # noqa: S108 - looked at, not used
        if folder.is_dir()
        for path in folder.iterdir()
        if own not in path.name and path.name.startswith(("harness", "sglang", "sgl_", "lm", "psm_", "sem."))
    }


def _in_one_process(count: int, lab: Lab) -> Seen:
    found = in_worker(lab, "one-process", count=count)
    return Seen(problems=found["problems"], cases=count, note=found["note"])


def _latest_after_a_kill(lab: Lab) -> Seen:
    first = lab.run()
    killed = lab.run(modes={"baseline": "kills-harness@30"})
    link, newest = lab.reports / "latest", _runs(lab)[-1]
    stale = link.is_symlink() and link.resolve() != newest
    problems = [f"`latest` leads to the run before, {link.resolve().name}"] if stale else []
    return Seen(ended=[first, killed], problems=problems, cases=2)


def _after_a_change(option: str, change: Callable[[Lab], dict[str, str]] | None, same: bool, lab: Lab) -> Seen:  # noqa: FBT001 - by `partial` alone
    """Stop a run in its second arm, change what its baseline depends on, and let another take it."""
    stopped = lab.run(modes={"compressed": "kills-harness@30"})
    if stopped.code != KILLED:
        return Seen(problems=[f"the run could not be killed: {stopped.code}"])
    folder = _runs(lab)[-1]
    more = change(lab) if change else {}
    if option == "--resume":
        command = lab.harness("accuracy", f"--resume={folder}")
    else:
        command = lab.accuracy(f"--reuse-baseline={folder}")
    ended = lab.start(command, env=more).wait()
    problems: list[str] = []
    if same:
        problems += differences(lab.reference, _runs(lab)[-1])
    elif ended.code == ERROR and "no such option" in ended.said.lower():
        problems.append("there is no such option")
    return Seen(ended=[ended], problems=problems)


def _task_yaml(lab: Lab) -> dict[str, str]:
    file = lab.checkout / "suites" / "tasks" / "boolq.yaml"
    file.write_text(file.read_text().replace("Question: {{question}}?", "Question: {{question}}?\\nThink."))
    return {}


def _task_python(lab: Lab) -> dict[str, str]:
    """What reads the number out of an answer: no prompt changes by it."""
    file = lab.checkout / "suites" / "tasks" / "gsm8k_sglang.py"
    file.write_text(file.read_text() + "\n# Another way of scoring.\n")
    return {}


def _row(lab: Lab) -> dict[str, str]:
    file = lab.raw / "boolq" / "validation.jsonl"
    file.write_text(file.read_text().replace("is 0 even", "is 0 odd"))
    return {}


def _weights(lab: Lab) -> dict[str, str]:
    (lab.model / "model.bin").write_bytes(b"others!")
    return {}


def _plugin(lab: Lab) -> dict[str, str]:
    for place in (lab.checkout, lab.plugin):
        file = place / "harness" / "sglang_plugin" / "recorder.py"
        file.write_text(file.read_text() + "\n# Changed.\n")
    return {}


def _version(lab: Lab) -> dict[str, str]:
    file = lab.place / "probe.json"
    file.write_text(file.read_text().replace(SGLANG, "another"))
    return {}


def _arguments(lab: Lab) -> dict[str, str]:
    lab.suite.write_text(lab.suite.read_text().replace("--random-seed=0", "--random-seed=1"))
    return {}


def _lm_eval(lab: Lab) -> dict[str, str]:
    """Metadata that is found before the installed one's."""
    folder = lab.place / "other" / "lm_eval-99.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lm_eval\nVersion: 99.0\n")
    return {"PYTHONPATH": str(folder.parent)}
