"""One arm alone, in a run's folder made for it: what a fleet's task starts on the host that the arm was given to."""

import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import HarnessError
from harness.plan.plan import Plan
from harness.records.arm_end import DIED, DONE, ENDED, REFUSED, UNLIKE, ArmEnd
from harness.records.run import write_record
from harness.records.run_folder import RunFolder
from harness.run.arms import run_arms
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.journal import in_words
from harness.run.launches import Launches
from harness.run.setup import UnlikeError, begin, set_up
from harness.run.versions import harness_versions
from harness.serve.server import ServerDiedError


def run_arm(plan: Plan, name: str, display: Display, *, before: float) -> ArmEnd:
    """Run one arm of a plan in the plan's folder, which holds the arms that it needs and, if any, the fingerprint.

    Args:
        plan: The plan; written again as this host's SGLang takes it.
        name: The arm.
        display: Where progress is shown.
        before: Seconds of the run so far: the arm's spans follow those of the arms before it.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = RunFolder(Path(plan.folder))

    def work(versions: dict[str, str]) -> None:
        ready = set_up(plan, display)
        versions |= harness_versions(ready.sglang.version)
        write_record(folder.plan, ready.plan)
        begin(ready, display)
        watch = Watch(plan.deadlines, before=before)
        with Launches(ready) as launches:
            run_arms(ready, launches, [ready.plan.arm(name)], display, watch, before_end=lambda _error: None)

    return end_of(work, folder)


def end_of(work: Callable[[dict[str, str]], None], folder: RunFolder) -> ArmEnd:
    """Do a task that was given to this host, and write down in its folder how it ended.

    Args:
        work: The task; given a mapping to which it adds the versions of what takes part.
        folder: Its folder.

    Raises:
        OSError: The folder cannot be written.
    """
    started, versions = time.monotonic(), dict[str, str]()
    outcome, error = DONE, ""
    try:
        work(versions)
    except UnlikeError as unlike:
        outcome, error = UNLIKE, in_words(unlike)
    except HarnessError as broken:
        outcome, error = DIED if _server_died(broken) else REFUSED, in_words(broken)
    end = ArmEnd(outcome=outcome, error=error, seconds=time.monotonic() - started, versions=versions)
    write_record(folder.path / ENDED, end)
    return end


def _server_died(error: BaseException | None) -> bool:
    """Return whether an error was caused by a server's end, whoever's name was put before it since."""
    return error is not None and (isinstance(error, ServerDiedError) or _server_died(error.__cause__))
