"""A whole study, as one sentence: plan, setup, measurements at each number of ranks, report, confirmation."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from harness.errors import HarnessError
from harness.records.run import RunRecord, write_record
from harness.records.run_folder import PRIVATE
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.journal import Journal
from harness.run.versions import harness_versions
from harness.study.build import build_study
from harness.study.flow import study_ranks
from harness.study.folder import StudyFolder
from harness.study.model import StudyReport
from harness.study.plan import StudyPlan
from harness.study.setup import ReadyStudy, set_up_study
from harness.study.write import write_study


def run_study(
    plan: StudyPlan, display: Display, *, share: Callable[[ReadyStudy], None] | None = None
) -> tuple[StudyReport, StudyFolder]:
    """Do what the plan says and report on it.

    What was measured stays: a study that was interrupted goes on where it was when it is started again.

    Args:
        plan: The plan.
        display: Where progress is shown.
        share: Has other servers measure what depends on no other result and puts it into the study's store, where it
            is found; None: this study's own server measures everything.

    Raises:
        HarnessError: The plan cannot be carried out, a server failed, or a measurement cannot be proven.
    """
    ready = set_up_study(plan, display)
    plan, folder = ready.plan, ready.folder
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        folder.path.mkdir(mode=PRIVATE, parents=True)
        write_record(folder.plan, plan)
        versions = harness_versions(ready.sglang.version)
        journal = Journal(folder, RunRecord(started=started, seconds=0.0, errors=[], versions=versions))
    except OSError as error:
        raise HarnessError(f"{folder.path} cannot be written: {error}") from error
    try:
        if share is not None:
            share(ready)
        watch = Watch(plan.deadlines)
        for ranks in plan.ranks:
            with ready.measurer(ranks, display, watch) as measurer:
                study_ranks(plan, measurer, ranks, display)
        journal.finished()
        report = build_study(folder)
        write_study(report, folder)
    except BaseException as error:
        # Where the disk is full, the folder says that it was cut off.
        with suppress(OSError):
            journal.broken(error)
        if isinstance(error, OSError):
            raise HarnessError(f"{folder.path} cannot be written: {error}") from error
        raise
    return report, folder
