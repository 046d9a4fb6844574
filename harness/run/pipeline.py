"""The whole run, as one sentence: plan, setup, server arms, conclusion."""

from collections.abc import Callable
from typing import TypeVar

from harness.errors import HarnessError
from harness.judge.calibration import CalibrationReport
from harness.plan.plan import Plan
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.calibration import write_calibration
from harness.report.model import Report
from harness.report.write import write_report
from harness.run.arms import groups, run_arms
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.journal import Journal, opened
from harness.run.launches import Launches
from harness.run.setup import begin, set_up
from harness.run.versions import harness_versions

ResultT = TypeVar("ResultT")


def run(plan: Plan, display: Display, *, resume: bool = False) -> Report:
    """Do what the plan says and report on it; arguments and errors as for `measure`."""
    return measure(plan, display, report_on, resume=resume)


def calibrate(plan: Plan, display: Display, *, resume: bool = False) -> CalibrationReport:
    """Do what the plan, one of baselines alone, says, and propose thresholds; as for `measure`."""
    return measure(plan, display, write_calibration, resume=resume)


def report_on(folder: RunFolder) -> Report:
    """Build a run's report from its files and write it."""
    report = build_report(folder)
    write_report(report, folder)
    return report


def measure(
    plan: Plan, display: Display, conclude: Callable[[RunFolder], ResultT], *, resume: bool = False
) -> ResultT:
    """Do what the plan says and draw the conclusion.

    Whatever goes wrong once the run has a folder is noted there before it goes any further, with a conclusion that
    says so, while the servers are still up: who ends the harness may not give it the time to end them first.

    Args:
        plan: The plan.
        display: Where progress is shown.
        conclude: Called with the run's folder once everything is on disk.
        resume: Whether the plan is that of a broken run, which goes on.

    Raises:
        HarnessError: The plan cannot be carried out at all; no server was started.
        KeyboardInterrupt: The user stopped it; the report says so.
    """
    ready = set_up(plan, display)
    plan = ready.plan
    with opened(plan, harness_versions(ready.sglang.version), resume=resume) as journal:
        watch = Watch(plan.deadlines, before=journal.record.seconds)
        concluded: list[ResultT] = []

        def note(error: BaseException) -> None:
            if not concluded:
                concluded.append(_conclude(journal, conclude, error))

        try:
            begin(ready, display)
            due = groups(plan)
            with Launches(ready) as launches:
                for arms, then in zip(due, [*due[1:], []], strict=True):
                    run_arms(ready, launches, arms, display, watch, before_end=note, then=then)
        except BaseException as error:
            note(error)
            if isinstance(error, HarnessError | OSError):
                return concluded[0]
            raise
        return _conclude(journal, conclude, None)


def _conclude(journal: Journal, conclude: Callable[[RunFolder], ResultT], error: BaseException | None) -> ResultT:
    """Note how the run ended and draw the conclusion.

    Raises:
        HarnessError: There is no room for either.
    """
    try:
        if error is None:
            journal.finished()
        else:
            journal.broken(error)
        return conclude(journal.folder)
    except OSError as full:
        raise HarnessError(f"the report cannot be written to {journal.folder.path}: {full}") from (error or full)
