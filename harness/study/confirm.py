"""The recommended policy in a real run, held against what virtual ranks predicted of it."""

from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.predictions import Estimate, compare
from harness.plan.plan import BASELINE, COMPRESSED, Plan
from harness.records.predictions import TextRecord, read_predictions
from harness.records.run import write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.run.display import Display
from harness.run.pipeline import run
from harness.study.build import build_study
from harness.study.folder import RECOMMENDED, UNCOMPRESSED, StudyFolder, virtual_folder
from harness.study.model import Confirmation, StudyReport
from harness.study.plan import StudyPlan, arm_name
from harness.study.write import write_study


def confirm_study(study: StudyPlan, folder: StudyFolder, plan: Plan, display: Display) -> StudyReport:
    """Run the recommended policy for real and report whether the prediction holds.

    Args:
        study: The study's plan, one that was to be confirmed.
        folder: Its folder.
        plan: The run's plan, with the recommended policy.
        display: Where progress is shown.

    Raises:
        HarnessError: The run cannot be carried out, or has no predictions to compare.
    """
    report = run(plan, display)
    real = RunFolder(Path(plan.folder))
    virtual = folder.arm(arm_name(study.ranks[0]))
    confirmed = compare_with_run(virtual, real, verdict=report.verdict)
    write_record(folder.confirmation, confirmed)
    found = build_study(folder)
    write_study(found, folder)
    return found


def compare_with_run(virtual: ArmFolder, real: RunFolder, *, verdict: str) -> Confirmation:
    """Compare a run's predictions with those of virtual ranks. A pure function of files.

    Both are read as runs read them, over the most likely tokens, so that the same is compared with the same.

    Args:
        virtual: The server of virtual ranks.
        real: The run's folder.
        verdict: The run's verdict.

    Raises:
        HarnessError: A file is missing, or no text was predicted by both.
    """
    pairs = {
        "uncompressed": (read_virtual(virtual, UNCOMPRESSED), read_predictions(real.arm(BASELINE).predictions)),
        "compressed": (read_virtual(virtual, RECOMMENDED), read_predictions(real.arm(COMPRESSED).predictions)),
    }
    names = set.intersection(*({record.text for record in records} for both in pairs.values() for records in both))
    predicted, seen = (
        _mean_kl(*(_of(names, both[side]) for both in pairs.values()), count=len(names)) for side in (0, 1)
    )
    return Confirmation(
        run=str(real.path),
        verdict=verdict,
        predicted=predicted,
        run_kl=seen,
        difference={name: _largest(_of(names, ours), _of(names, theirs)) for name, (ours, theirs) in pairs.items()},
        agrees=predicted.low <= seen.mean <= predicted.high,
    )


def read_virtual(virtual: ArmFolder, name: str) -> list[TextRecord]:
    """Return a policy's predictions by virtual ranks.

    Raises:
        HarnessError: They are missing.
    """
    return read_predictions(virtual_folder(virtual, name).predictions)


def _of(names: set[str], records: Sequence[TextRecord]) -> list[TextRecord]:
    return [record for record in records if record.text in names]


def _mean_kl(baseline: Sequence[TextRecord], other: Sequence[TextRecord], *, count: int) -> Estimate:
    found = compare(baseline, other, expected=count)
    if found.overall is None or found.faults or found.failed:
        failed = [f"{found.failed} requests failed"] if found.failed else []
        why = "; ".join([*found.faults, *failed]) or "no text was predicted by both"
        raise HarnessError(f"run and virtual ranks cannot be compared: {why}")
    return found.overall.kl


def _largest(ours: Sequence[TextRecord], theirs: Sequence[TextRecord]) -> float:
    """Return the largest difference of the log-probability of a token that follows, in nats."""
    others = {record.text: record.logprobs for record in theirs}
    return max(
        abs(here - there) for record in ours for here, there in zip(record.logprobs, others[record.text], strict=True)
    )
