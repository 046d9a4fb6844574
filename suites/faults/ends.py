"""Processes that are killed, stopped or told to end, at moments that the server itself knows."""

import random
import signal
import time
from collections.abc import Iterator
from functools import partial

from suites.faults.invariants import folder_problems, lost_problems
from suites.faults.kinds import INTERRUPTED, KILLED, PASS, Expected, Kind, Seen
from suites.faults.lab import Lab
from suites.faults.served import rebuilding_problems, resuming_problems, served

KILLS = 50
KILLS_SHORT = 2
MOMENTS = {
    "at its start": ("baseline", "start"),
    "at the known answer": ("baseline", "known"),
    "in prefill": ("baseline", "30"),
    "between tasks": ("baseline", "flush2"),
    "in the second arm": ("compressed", "30"),
    "at the last text": ("compressed", "=78"),
}


def kinds(*, short: bool) -> Iterator[Kind]:
    """Yield them; random kills are fewer in the short form."""
    family = "ends"
    for moment, (arm, when) in MOMENTS.items():
        yield served(
            f"SIGKILL to the harness {moment}",
            family,
            {arm: f"kills-harness@{when}"},
            KILLED,
            resumes=True,
            short=moment == "in prefill",
        )
        yield served(
            f"SIGKILL to the launcher {moment}",
            family,
            {arm: f"kills-itself@{when}"},
            says="the server ended|ended with exit code",
            resumes=moment != "at its start",
            short=moment == "in prefill",
        )
        yield served(
            f"SIGKILL to the guard {moment}",
            family,
            {arm: f"kills-guard@{when}"},
            resumes=moment in {"in prefill", "in the second arm"},
            short=moment == "in prefill",
        )
    for name, what in (
        ("SIGTERM", "terminates-harness"),
        ("SIGHUP", "hangs-up-harness"),
        ("Ctrl-C", "interrupts-harness"),
        ("Ctrl-C twice", "interrupts-harness-twice"),
    ):
        modes = {"compressed": f"{what}@30"}
        yield served(
            f"{name} to the harness",
            family,
            modes,
            INTERRUPTED,
            says="interrupted",
            resumes=True,
            short=name == "SIGHUP",
        )
    modes = {"baseline": "interrupts-harness@start"}
    yield served("Ctrl-C while the server starts", family, modes, INTERRUPTED, says="interrupted")
    yield served("SIGTERM to the guard", family, {"baseline": "terminates-guard@30"}, says="server")
    yield served("SIGSTOP to the server", family, {"baseline": "stops-itself@30"}, within_s=75, resumes=True)
    yield served(
        "a stranger's server on the port of a dead one", family, {"baseline": "hands-over@30"}, says="server"
    )
    count = KILLS_SHORT if short else KILLS
    yield Kind(
        name=f"SIGKILL to the harness at {count} random moments",
        family=family,
        where="anywhere",
        expected=Expected(codes=(KILLED, PASS)),
        act=partial(_random_kills, count),
        short=True,
    )


def _random_kills(count: int, lab: Lab) -> Seen:
    """Kill a run at a random moment, build its report, go on with it; the seed is the number of the kill."""
    seen = Seen(cases=count)
    killed, seconds = 0, float(lab.duration.read_text())
    for number in range(count):
        lab.journal_file.unlink(missing_ok=True)
        before = set(lab.reports.iterdir())
        running = lab.start(lab.accuracy())
        time.sleep(random.Random(number).uniform(0, seconds))  # noqa: S311 - a moment, no secret
        running.process.send_signal(signal.SIGKILL)
        ended = running.wait()
        seen.ended.append(ended)
        killed += ended.code == KILLED
        new = [path for path in set(lab.reports.iterdir()) - before if path.is_dir() and not path.is_symlink()]
        for folder in new:
            found = [*folder_problems(folder, torn=True), *lost_problems(lab, folder)]
            if ended.code == KILLED and (folder / "plan.json").exists() and not (folder / "report.json").exists():
                found += rebuilding_problems(lab, folder)
                found += resuming_problems(lab, folder)
            seen.problems += [f"kill {number}: {problem}" for problem in found]
    seen.note = f"{killed} of {count} before the end"
    return seen
