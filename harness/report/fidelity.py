"""The part of the report on the predictions of fixed text."""

from collections.abc import Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.fidelity.compare import compare
from harness.fidelity.judge import fidelity_warnings, judge_fidelity
from harness.fidelity.measure import protocol
from harness.fidelity.records import TextRecord, read_records
from harness.fidelity.settings import FidelityPlan
from harness.plan import AGAIN, BASELINE, COMPRESSED
from harness.report.model import FidelityReport


def fidelity_report(folder: Path, plan: FidelityPlan, arms: Iterable[str]) -> FidelityReport:
    """Build it.

    Args:
        folder: The run's folder.
        plan: What the plan says of it.
        arms: The run's arms.
    """
    found: dict[str, list[TextRecord]] = {}
    unread: list[str] = []
    for arm in arms:
        try:
            found[arm] = read_records(folder / arm)
        except HarnessError as error:
            unread.append(f"{arm} arm: {error}")
            found[arm] = []
    expected = sum(plan.texts.values())
    compressed = compare(found[BASELINE], found[COMPRESSED], expected=expected)
    if unread:
        # Without records the comparison's own faults only say that again.
        compressed = compressed.model_copy(update={"faults": unread})
    noise = None
    if AGAIN in found and not unread:
        noise = compare(found[BASELINE], found[AGAIN], expected=expected, names=(BASELINE, AGAIN))
    judged = judge_fidelity(compressed, noise, plan.threshold)
    return FidelityReport(
        compressed=compressed,
        noise=noise,
        threshold=plan.threshold,
        warnings=fidelity_warnings(compressed, noise, plan.threshold),
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        protocol=protocol(plan),
    )
