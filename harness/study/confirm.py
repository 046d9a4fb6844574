"""The recommended policy in a real run, held against what virtual ranks predicted of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.prediction_shift import moves, summarise
from harness.plan.plan import COMPRESSED, Plan
from harness.records.predictions import read_compared
from harness.records.run import write_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.run.display import Display
from harness.run.pipeline import run
from harness.study.build import build_study
from harness.study.folder import StudyFolder
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
    predicted = [text for text in measured.texts if text.text in compared and compared[text.text].kl]
    seen = [compared[text.text] for text in predicted]
    if not seen:
        raise HarnessError("run and virtual ranks cannot be compared: no text was predicted by both")
    pairs = list(zip(predicted, seen, strict=True))
    harm, run_harm = (summarise(moves(texts)).kl for texts in (predicted, seen))
    return Confirmation(
        run=str(real.path),
        verdict=verdict,
        predicted=harm,
        run_kl=run_harm,
        difference={
            "uncompressed": _largest((ours.baseline, theirs.baseline) for ours, theirs in pairs),
            "compressed": _largest((ours.candidate, theirs.candidate) for ours, theirs in pairs),
        },
        agrees=harm.low <= run_harm.mean <= harm.high,
    )


def _largest(columns: Iterable[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Return the largest difference of the log-probability of a token that follows, in nats."""
    return max(abs(here - there) for pair in columns for here, there in zip(*pair, strict=True))
