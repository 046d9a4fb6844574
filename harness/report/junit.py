"""report.xml: the report as JUnit XML, a case a check, for CI that shows tests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.judge.results import ArmReport, FidelityReport, Gate, PooledReport, TaskReport
from harness.judge.verdict import Verdict
from harness.records.predictions import FIDELITY
from harness.report.model import Report
from harness.safety import visible

# The attribute that a viewer shows in a list; the whole text stands below it.
SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a run.

    Attributes:
        part: What is checked: the run, an arm, a task, the predictions.
        name: The check.
        verdict: What it came to.
        reasons: Why.
        seconds: How long its part took; None where nothing was timed.
    """

    part: str
    name: str
    verdict: str
    reasons: list[str]
    seconds: float | None = None


def junit(report: Report) -> str:
    """Return the report as JUnit XML.

    FAIL is a failure. ERROR is an error: nothing was measured, or it is not proven. What decides nothing is skipped,
    and says so: INCONCLUSIVE, and what is only reported. What failed as a whole never hides behind that: the run's
    own verdict is a case too.
    """
    suite = TestSuite(visible(report.suite))
    suite.timestamp = visible(report.started)
    for name in ("run_id", "model", "device", "decision", "repeat"):
        suite.add_property(name, visible(str(getattr(report, name))))
    suite.add_testcases([_case(report.suite, check) for check in checks(report)])
    suite.update_statistics()
    document = JUnitXml("tp-compression-harness")
    document.add_testsuite(suite)
    document.update_statistics()
    written = document.tostring()
    return written.decode("utf-8") if isinstance(written, bytes) else str(written)


def checks(report: Report) -> Iterator[Check]:
    """Return every check of a report: the run, its arms, its tasks, all together, its predictions."""
    yield Check(
        part="run",
        name="verdict",
        verdict=report.verdict,
        reasons=report.reasons,
        seconds=report.timings.get("total"),
    )
    for name, arm in report.arms.items():
        yield from _arm(f"arm.{name}", arm, report.timings.get(f"{name}.start"))
    for name, task in report.tasks.items():
        yield from _part(name, task, task.gates, _seconds(report, name))
    if report.pooled is not None:
        yield from _part("pooled", report.pooled, {}, None)
    if report.fidelity is not None:
        yield from _part(FIDELITY, report.fidelity, report.fidelity.gates, _seconds(report, FIDELITY))


def _arm(part: str, arm: ArmReport, seconds: float | None) -> Iterator[Check]:
    known = {True: Verdict.PASS, False: Verdict.FAIL, None: Verdict.ERROR}[arm.known_answer]
    said = {True: [], False: ["the server gave another than the known answer"], None: ["the server never came up"]}
    yield Check(part=part, name="known answer", verdict=known, reasons=said[arm.known_answer], seconds=seconds)
    yield _proof(part, "engagement", arm.engagement.faults)
    if arm.live_check is not None:
        yield _proof(part, "live check", [*arm.live_check.wrong, *arm.live_check.faults])


def _proof(part: str, name: str, faults: list[str]) -> Check:
    return Check(part=part, name=name, verdict=Verdict.ERROR if faults else Verdict.PASS, reasons=faults)


def _part(
    name: str, found: TaskReport | PooledReport | FidelityReport, gates: dict[str, Gate], seconds: float | None
) -> Iterator[Check]:
    part = name if isinstance(found, FidelityReport) else f"task.{name}"
    yield Check(part=part, name="verdict", verdict=found.verdict, reasons=found.reasons, seconds=seconds)
    for key, gate in gates.items():
        yield Check(part=part, name=key, verdict=gate.verdict, reasons=gate.reasons)


def _seconds(report: Report, name: str) -> float | None:
    found = [seconds for key, seconds in report.timings.items() if key.endswith(f".{name}")]
    return sum(found) if found else None


def _case(suite: str, check: Check) -> TestCase:
    case = TestCase(visible(check.name), visible(f"{suite}.{check.part}"), check.seconds)
    if (result := _result(check.verdict, check.reasons)) is not None:
        case.result = [result]
    elif check.reasons:
        case.system_out = _text(check.reasons)
    return case


def _result(verdict: str, reasons: list[str]) -> Error | Failure | Skipped | None:
    kind = {Verdict.PASS: None, Verdict.FAIL: Failure, Verdict.ERROR: Error}.get(Verdict(verdict), Skipped)
    if kind is None:
        return None
    first = reasons[0].partition("\n")[0] if reasons else verdict
    result = kind(visible(f"{verdict}: {first}"[:SHOWN]), verdict)
    result.text = _text(reasons)
    return result


def _text(reasons: Iterable[str]) -> str:
    return "\n".join(visible(reason) for reason in reasons)
