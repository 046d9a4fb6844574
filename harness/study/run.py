"""A whole study, as one sentence: plan, setup, measurements at each number of ranks, report, confirmation."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from harness.ask.predictions import FixedTexts
from harness.errors import HarnessError
from harness.records.run import RunRecord, write_record
from harness.records.run_folder import PRIVATE, ArmFolder
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.journal import Journal
from harness.run.versions import harness_versions
from harness.sglang_plugin.policy import parse
from harness.study.build import build_study, policies, recommend
from harness.study.flow import study_ranks
from harness.study.folder import RECOMMENDED, UNCOMPRESSED, StudyFolder
from harness.study.measure import Measurer
from harness.study.measurements import UNCOMPRESSED_RULES
from harness.study.model import StudyReport
from harness.study.plan import StudyPlan, arm_name
from harness.study.records import read_measured
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
                if plan.confirm and ranks == plan.ranks[0]:
                    _predict_for_confirmation(plan, measurer, folder.arm(arm_name(ranks)), ready.texts, display)
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


def _predict_for_confirmation(
    plan: StudyPlan, measurer: Measurer, files: ArmFolder, texts: FixedTexts, display: Display
) -> None:
    """Have the recommended policy's predictions and the uncompressed ones read as a real run reads them."""
    best = recommend(plan, policies(plan, read_measured(files.path), ("candidate", "mix")))
    if best is None:
        return
    display.say(f"{best.name}: predictions to compare a real run with")
    for name, rules in ((UNCOMPRESSED, UNCOMPRESSED_RULES), (RECOMMENDED, parse({"rules": best.policy}).rules)):
        measurer.predictions(name, rules, texts)
