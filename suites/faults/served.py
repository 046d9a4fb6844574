"""A kind that is one run against the fault server, and what has to hold after it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from suites.faults.invariants import differences, folder_problems, lost_problems, verdict_problems
from suites.faults.kinds import ERROR, INTERRUPTED, KILLED, PASS, Expected, Kind, Seen, words_problems
from suites.faults.lab import Lab


def served(
    name: str,
    family: str,
    modes: Mapping[str, str],
    *codes: int,
    says: str = "",
    arguments: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    within_s: float = 60.0,
    peak_mb: float = 0.0,
    not_started: str = "",
    resumes: bool = False,
    short: bool = False,
) -> Kind:
    """Return a kind whose servers have faults.

    Args:
        name: What is broken.
        family: What it belongs to.
        modes: The fault of each arm's server, see suites.faults.server.
        codes: The exit codes that are right; ERROR if none is given.
        says: What the output must say.
        arguments: The run's further arguments.
        env: The run's further variables.
        within_s: How long the run may take.
        peak_mb: How much memory the harness may hold; 0 for any.
        not_started: The arm that must not be started.
        resumes: Whether `--resume` must then give the report of an unbroken run.
        short: Whether the short form has it.
    """

    def act(lab: Lab) -> Seen:
        ended = lab.run(*arguments, modes=modes, env=env)
        seen = Seen(ended=[ended])
        folder = lab.latest
        killed = ended.code == KILLED
        if killed:
            if folder is None:
                seen.problems.append("there is no run's folder")
        elif ended.code != INTERRUPTED or folder is not None:
            seen.problems += verdict_problems(folder, ended)
        if folder is not None:
            full = any("disk" in mode or "lock" in mode for mode in modes.values())
            seen.problems += folder_problems(folder, torn=killed or full)
            seen.problems += lost_problems(lab, folder)
            if not_started and (folder / not_started).exists():
                seen.problems.append(f"{not_started} was started all the same")
            if killed:
                seen.problems += rebuilding_problems(lab, folder)
            if resumes:
                seen.problems += resuming_problems(lab, folder)
        if peak_mb and ended.peak_mb > peak_mb:
            seen.problems.append(f"held {ended.peak_mb:.0f} MB, more than {peak_mb:.0f}")
        return seen

    where = ", ".join(f"{arm}: {mode}" for arm, mode in modes.items()) or "no server"
    expected = Expected(codes=codes or (ERROR,), says=says, within_s=within_s)
    return Kind(name=name, family=family, where=where, expected=expected, act=act, short=short)


def rebuilding_problems(lab: Lab, folder: Path) -> Iterator[str]:
    """Yield what is wrong with the report that is built of a run that was killed."""
    ended = lab.rebuild(folder)
    if ended.code != ERROR:
        yield f"the report of the killed run ends with {ended.code}"
    if not (folder / "report.json").exists():
        yield "no report can be built of the killed run"
    yield from (f"its report: {problem}" for problem in words_problems(ended.said))


def resuming_problems(lab: Lab, folder: Path) -> Iterator[str]:
    """Yield what is wrong with the report of a run that is gone on with, beside that of an unbroken one."""
    _unlock(folder)
    ended = lab.start(lab.harness("accuracy", f"--resume={folder}")).wait()
    if ended.code != PASS:
        yield f"--resume ends with {ended.code}: {' '.join(ended.said.split())[-200:]}"
        return
    yield from (f"left a process when resumed: {stray}" for stray in ended.strays)
    yield from (f"resumed: {problem}" for problem in folder_problems(folder))
    yield from (f"resumed: {difference}" for difference in differences(lab.reference, folder))


def _unlock(folder: Path) -> None:
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        path.chmod(0o700)
