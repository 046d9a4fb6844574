"""The whole run, as one sentence: plan, setup, server arms, conclusion."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from harness.errors import HarnessError
from harness.judge.calibration import CalibrationReport
from harness.plan.plan import Plan
from harness.records.run import RunRecord, write_record
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from harness.report.calibration import write_calibration
from harness.report.model import Report
from harness.report.write import write_report
from harness.run.arms import groups, run_arms
from harness.run.display import Display
from harness.run.setup import set_up
from harness.run.versions import harness_versions

ResultT = TypeVar("ResultT")


def run(plan: Plan, display: Display) -> Report:
    """Do what the plan says and report on it; arguments and errors as for `measure`."""
    return measure(plan, display, report_on)


def calibrate(plan: Plan, display: Display) -> CalibrationReport:
    """Do what the plan, one of baselines alone, says, and propose thresholds; as for `measure`."""
    return measure(plan, display, write_calibration)


def report_on(folder: RunFolder) -> Report:
    """Build a run's report from its files and write it."""
    report = build_report(folder)
    write_report(report, folder)
    return report


def measure(plan: Plan, display: Display, conclude: Callable[[RunFolder], ResultT]) -> ResultT:
    """Do what the plan says and draw the conclusion.

    Whatever goes wrong once a server was started ends in a conclusion that says so, and what was measured
    stays on disk.

    Args:
        plan: The plan.
        display: Where progress is shown.
        conclude: Called with the run's folder once everything is on disk.

    Raises:
        HarnessError: The plan cannot be carried out at all; nothing was started.
        KeyboardInterrupt: The user stopped it; the report says so.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    ready = set_up(plan, display)
    errors: list[str] = []
    try:
        for arms in groups(plan):
            run_arms(ready, arms, display)
    except HarnessError as error:
        errors.append(str(error))
    except OSError as error:
        errors.append(f"a file cannot be written ({error}): is the disk full? What was measured before is kept")
    except KeyboardInterrupt:
        errors.append("interrupted by the user")
        raise
    finally:
        record = RunRecord(
            started=started.isoformat(timespec="seconds"),
            seconds=time.monotonic() - clock,
            errors=errors,
            versions=harness_versions(ready.sglang.version),
        )
        try:
            write_record(ready.folder.run, record)
            result = conclude(ready.folder)
        except OSError as error:
            raise HarnessError(f"the report cannot be written to {ready.folder.path}: {error}") from error
    return result
