"""What a fleet came to: fleet.json, and a page of it, the worst run first."""

from collections.abc import Sequence
from pathlib import Path

from harness.fleet.records import Attempt, FleetFolder
from harness.judge.verdict import EXIT_CODES, WORST_FIRST, Verdict
from harness.records.run import write_record, write_whole
from harness.report.page.frame import render
from harness.strict import Strict

TEMPLATE = "fleet.html.jinja"
NOT_DONE = "not done"


class RunResult(Strict):
    """What one run of a fleet came to.

    Attributes:
        run_id: The run, and its folder beside the fleet's.
        suite: Its suite.
        model: Its model.
        compression: Its codec or policy in a word.
        release: Its SGLang in a word.
        verdict: PASS, FAIL, INCONCLUSIVE or ERROR; `not done` where the fleet was ended before.
        reasons: Why.
        warnings: How many WARNINGs its report has.
        hosts: Where its arms ran.
        again: What was started more than once, each with why; a WARNING's worth.
        shared: Other runs that have the same baseline.
    """

    run_id: str
    suite: str
    model: str
    compression: str
    release: str
    verdict: str
    reasons: list[str]
    warnings: int = 0
    hosts: list[str]
    again: list[str]
    shared: list[str]

    @property
    def line(self) -> str:
        """What it came to, and why if that is not good, for a terminal."""
        why = "" if self.verdict == Verdict.PASS else f": {'; '.join(self.reasons)}"
        return f"{self.verdict} {self.run_id} ({self.compression}, SGLang {self.release}){why}"


class FleetReport(Strict):
    """A fleet's report.

    Attributes:
        fleet_id: Its name.
        matrix: What it was planned from.
        started: ISO time, UTC.
        seconds: How long it took, since it was last resumed.
        head_seconds: How much of that the head itself worked and did not wait, judging left out.
        judging_seconds: How much it judged and wrote reports.
        verdict: The worst of its runs'.
        exit_code: Its exit code.
        dashboard: The address of Ray's own page; empty where Ray has none.
        runs: Its runs, the worst first.
        attempts: Every start of an arm.
        resume: The command that goes on with it; empty for one that got to its end.
    """

    fleet_id: str
    matrix: str
    started: str
    seconds: float
    head_seconds: float
    judging_seconds: float
    verdict: str
    exit_code: int
    dashboard: str
    runs: list[RunResult]
    attempts: list[Attempt]
    resume: str


def worst_first(runs: Sequence[RunResult]) -> list[RunResult]:
    """Return the runs, the worst verdict first and what is not done last; of one verdict in their own order."""
    order = [*WORST_FIRST, NOT_DONE]
    return sorted(runs, key=lambda run: order.index(run.verdict))


def verdict_of(runs: Sequence[RunResult]) -> Verdict:
    """Return the worst verdict; ERROR where a run has none."""
    found = {run.verdict for run in runs}
    if not found or NOT_DONE in found:
        return Verdict.ERROR
    return next(verdict for verdict in WORST_FIRST if verdict in found)


def write_fleet(report: FleetReport, folder: FleetFolder) -> None:
    """Write fleet.json and the page.

    Raises:
        OSError: They cannot be written.
    """
    write_record(folder.report, report)
    write_whole(folder.page, page(report))


def page(report: FleetReport) -> str:
    """Return the page: the same for the same report."""
    counts = {name: sum(run.verdict == name for run in report.runs) for name in [*WORST_FIRST, NOT_DONE]}
    return render(
        TEMPLATE,
        folder=Path(__file__).parent,
        report=report,
        counts={name: count for name, count in counts.items() if count},
        lost=[attempt for attempt in report.attempts if attempt.error],
        exit_codes=EXIT_CODES,
    )
