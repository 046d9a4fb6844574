"""A part of a study alone, in a folder made for it: what a host that shares a study is told to start."""

import shutil
from pathlib import Path

from harness.records.arm_end import ArmEnd
from harness.records.run import Fingerprint, read_record
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.one_arm import end_of
from harness.run.reuse_baseline import differences
from harness.run.setup import UnlikeError
from harness.run.versions import harness_versions
from harness.sglang_plugin.study_folder import REFERENCE
from harness.study.flow import say_measured
from harness.study.folder import StudyFolder
from harness.study.plan import StudyPlan, arm_name
from harness.study.setup import set_up_study


def measure_part(plan: StudyPlan, display: Display) -> ArmEnd:
    """Measure a part of a study in the plan's folder, which holds the fingerprint that this host must have.

    What is measured goes into this host's store too, where another start of the part finds it.

    Args:
        plan: The study's plan, with what the part measures.
        display: Where progress is shown.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = StudyFolder(Path(plan.folder))

    def work(versions: dict[str, str]) -> None:
        ready = set_up_study(plan, display)
        versions |= harness_versions(ready.sglang.version)
        if differing := differences(read_record(folder.fingerprint, Fingerprint), ready.fingerprint):
            told = "\n  ".join(differing)
            raise UnlikeError(f"it is unlike the host that the study was started on (then: that one):\n  {told}")
        watch = Watch(plan.deadlines)
        for ranks in dict.fromkeys(wanted.ranks for wanted in plan.part):
            with ready.measurer(ranks, display, watch) as measurer:
                for wanted in plan.part:
                    if wanted.ranks == ranks:
                        say_measured(display, measurer.measure(wanted))
            # Whole hidden states, which nobody compares with any more.
            shutil.rmtree(folder.arm(arm_name(ranks)).engagement / REFERENCE, ignore_errors=True)

    return end_of(work, folder)
