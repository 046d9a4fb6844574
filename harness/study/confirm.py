"""The recommended policy in a real run, held against what virtual ranks predicted of it."""

from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.predictions import moves, summarise
from harness.plan.plan import BASELINE, COMPRESSED, Plan
from harness.records.predictions import TextRecord, read_compared, read_predictions
from harness.records.run import write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.run.display import Display
from harness.run.pipeline import run
from harness.study.build import build_study
from harness.study.folder import RECOMMENDED, UNCOMPRESSED, StudyFolder, virtual_folder
from harness.study.model import Confirmation, StudyReport
from harness.study.plan import StudyPlan, arm_name
from harness.study.records import read_measured
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
    recommended = build_study(folder).recommended
    assert recommended is not None  # noqa: S101 - only then is there a plan to run
    confirmed = compare_with_run(virtual, real, recommended=recommended.name, verdict=report.verdict)
    write_record(folder.confirmation, confirmed)
    found = build_study(folder)
    write_study(found, folder)
    return found


def compare_with_run(virtual: ArmFolder, real: RunFolder, *, recommended: str, verdict: str) -> Confirmation:
    """Compare a run's predictions with those of virtual ranks. A pure function of files.

    Args:
        virtual: The server of virtual ranks.
        real: The run's folder.
        recommended: The name of the policy that was run.
        verdict: The run's verdict.

    Raises:
        HarnessError: A file is missing, or no text was predicted by both.
    """
    measured = next(one for one in read_measured(virtual.path) if one.name == recommended)
    compared = read_compared(real.arm(COMPRESSED).compared)
    predicted = [text for text in measured.texts if text.text in compared]
    seen = [compared[text.text] for text in predicted]
    if not any(line.kl for line in seen):
        raise HarnessError("run and virtual ranks cannot be compared: no text was predicted by both")
    harm, run_harm = (summarise(moves(texts)).kl for texts in (predicted, seen))
    pairs = {
        "uncompressed": (read_virtual(virtual, UNCOMPRESSED), read_predictions(real.arm(BASELINE).predictions)),
        "compressed": (read_virtual(virtual, RECOMMENDED), read_predictions(real.arm(COMPRESSED).predictions)),
    }
    return Confirmation(
        run=str(real.path),
        verdict=verdict,
        predicted=harm,
        run_kl=run_harm,
        difference={name: _largest(ours, theirs) for name, (ours, theirs) in pairs.items()},
        agrees=harm.low <= run_harm.mean <= harm.high,
    )


def read_virtual(virtual: ArmFolder, name: str) -> list[TextRecord]:
    """Return a policy's predictions by virtual ranks.

    Raises:
        HarnessError: They are missing.
    """
    return read_predictions(virtual_folder(virtual, name).predictions)


def _largest(ours: Sequence[TextRecord], theirs: Sequence[TextRecord]) -> float:
    """Return the largest difference of the log-probability of a token that follows, in nats, in texts of both."""
    others = {record.text: record.logprobs for record in theirs}
    return max(
        abs(here - there)
        for record in ours
        if record.text in others
        for here, there in zip(record.logprobs, others[record.text], strict=True)
    )
