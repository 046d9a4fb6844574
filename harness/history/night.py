"""What a night came to: each part's verdict and cause, what got worse, what changed, in one file and in one mail."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from harness.history.show import details, sentence
from harness.history.store import Run, Store
from harness.history.trend import since_last_good, trend
from harness.judge.verdict import EXIT_CODES, Verdict
from harness.records.run_folder import RunFolder
from harness.strict import Strict

WORDS = {code: verdict for verdict, code in EXIT_CODES.items()}
# Of a FAIL's causes; an ERROR has one, and the rest follow from it.
MOST_CAUSES = 5
MOST_CHANGES = 8
LETTERS = 500
NUMBERS = re.compile(r"[-+]?\d[\d.,e%-]*")


class Cause(Strict):
    """One thing that is wrong, by a key that stays the same as long as it is.

    Attributes:
        key: What tells it from others: the part, and its words without the numbers of the night.
        part: The part of the night.
        text: What is wrong.
        details: What helps to find out why.
    """

    key: str
    part: str
    text: str
    details: list[str]


class Part(Strict):
    """One part of a night.

    Attributes:
        name: A suite's name, `numerics`, or `history of SUITE`.
        verdict: PASS, FAIL, INCONCLUSIVE, ERROR, or REPORTED of a history that has nothing to compare.
        causes: What is wrong.
        changed: What is not as in the last good run.
        page: The report, or empty.
    """

    name: str
    verdict: str
    causes: list[Cause]
    changed: list[str]
    page: str


class NightReport(Strict):
    """A night.

    Attributes:
        date: When it began, as YYYY-MM-DD.
        verdict: The worst part's.
        parts: The parts.
    """

    date: str
    verdict: str
    parts: list[Part]

    @property
    def causes(self) -> list[Cause]:
        """What is wrong, over all parts."""
        return [cause for part in self.parts for cause in part.causes]


def build_night(store: Store, reports: Path, began: datetime, codes: dict[str, int]) -> NightReport:
    """Build it.

    Args:
        store: The memory, brought up to date.
        reports: The folder of the run folders.
        began: When the night began, with its time zone: older runs are none of it.
        codes: Each part's exit code, by name; a suite's is its run's.
    """
    parts = []
    for name, code in codes.items():
        runs = store.runs(name)
        tonight = [run for run in runs if _started(run) >= began]
        verdict = WORDS.get(code, Verdict.ERROR)
        if not tonight:
            # What measures nothing of a model leaves no run; of a suite that is what went wrong.
            causes = [] if verdict is Verdict.PASS else [_cause(name, f"{name}: {verdict}, exit code {code}", [])]
            parts.append(Part(name=name, verdict=verdict, causes=causes, changed=[], page=""))
            continue
        parts.append(_of_run(tonight[-1], runs, reports, verdict))
        parts += _of_history(store, name)
    worst = max((part.verdict for part in parts), key=_severity, default=Verdict.ERROR)
    return NightReport(date=f"{began:%Y-%m-%d}", verdict=worst, parts=parts)


def _started(run: Run) -> datetime:
    return datetime.fromisoformat(run.started)


def _severity(verdict: str) -> int:
    order = (Verdict.REPORTED, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.ERROR)
    return order.index(Verdict(verdict))


def _of_run(run: Run, runs: Sequence[Run], reports: Path, verdict: Verdict) -> Part:
    """Return a suite's part. What its process ended with counts beside the report: it may have died after it."""
    said = max((verdict, Verdict(run.verdict)), key=_severity)
    causes = []
    if said is Verdict.ERROR:
        causes = [
            _cause(run.suite, (run.reasons or ["its process ended badly after the report"])[0], run.reasons[1:4])
        ]
    elif said is not Verdict.PASS:
        causes = [_cause(run.suite, reason, []) for reason in run.reasons[:MOST_CAUSES]]
    since = since_last_good(run, runs)
    changed = [str(difference) for difference in since[1]] if since else []
    folder = RunFolder(reports / run.run_id)
    pages = [page for page in (folder.page, folder.markdown) if page.exists()]
    return Part(name=run.suite, verdict=said, causes=causes, changed=changed, page=str(pages[0]) if pages else "")


def _of_history(store: Store, suite: str) -> list[Part]:
    found = trend(store, suite)
    if found is None:
        return []
    causes = [
        _cause(f"history of {suite}", f"{chart.title}: {sentence(chart, alarm)}", list(details(chart, alarm)))
        # Since when is part of what it is; how much, and how surely, is the night's.
        .model_copy(update={"key": f"history of {suite}: {chart.title} since {alarm.since.run_id}"})
        for chart, alarm in found.alarms
    ]
    return [Part(name=f"history of {suite}", verdict=found.verdict, causes=causes, changed=[], page="")]


def _cause(part: str, text: str, details: Sequence[str]) -> Cause:
    # Numbers change from night to night; the same task's same gate is the same cause.
    key = NUMBERS.sub("#", text.splitlines()[0] if text else "")[:120]
    return Cause(key=f"{part}: {key}", part=part, text=text[:LETTERS], details=[line[:LETTERS] for line in details])


def summary(night: NightReport) -> str:
    """Return the night as a mail's text: its subject, then what is wrong first, then every part."""
    causes = night.causes
    first = f": {causes[0].part}: {causes[0].text.splitlines()[0][:140]}" if causes else ""
    lines = [f"nightly {night.date} {night.verdict}{first}", ""]
    for cause in causes:
        lines += [f"{cause.part}: {cause.text}", *(f"    {line}" for line in cause.details), ""]
    width = max((len(part.name) for part in night.parts), default=0)
    for part in night.parts:
        lines.append(f"{part.verdict:12} {part.name:{width}} {part.page}".rstrip())
    for part in night.parts:
        if part.changed:
            lines += ["", f"{part.name}: changed since its last good run:"]
            lines += [f"    {change}" for change in part.changed[:MOST_CHANGES]]
            if (more := len(part.changed) - MOST_CHANGES) > 0:
                lines.append(f"    and {more} more")
    return "\n".join(lines) + "\n"
