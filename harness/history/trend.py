"""Judges a suite's nights: a chart for each arm of each task and for the fixed texts, and what each alarm says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.history.record import KL, Figure
from harness.history.store import Measured, Run, Store
from harness.history.suspects import Change, Difference, changes, differences
from harness.judge.verdict import Verdict
from harness.records.predictions import FIDELITY
from harness.stats.cusum import Cusum, Night, Step, Suspects, limit

# Of texts: a tenth of what is called large (judge.fidelity.LARGE_KL), in nats a token. What moves all texts by less
# may be as sure as it likes and is no harm.
TOLERANCE = 0.001
# What is worse by this much since then, on average, is newly wrong.
NEWLY = 0.5
# Runs whose figures are shown; all nights are judged.
SHOWN = 400
# A night that was not measured or not proven says nothing of accuracy; one that failed does, and is no reference.
UNMEASURED = (Verdict.ERROR,)
GOOD = (Verdict.PASS, Verdict.INCONCLUSIVE)


@dataclass(frozen=True, kw_only=True)
class ChartNight:
    """One night on a chart: the run, and what it added."""

    run: Run
    step: Step


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question or text that is worse since an alarm's beginning.

    Attributes:
        number: Its place in the order of asking, from 0.
        name: The hash of its document, or the text's name and how many predictions it has.
        worse: By how much: 1 is right in every night before and wrong in every one since; of texts, nats a token.
    """

    number: int
    name: str
    worse: float


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A figure that got worse.

    Attributes:
        since: The first worse night.
        reference: The last good night before it.
        found: The night at which the alarm was raised.
        by: By how much its mean is worse since then than before.
        surely: How many standard errors that is.
        items: What is newly wrong, or the texts, worst first.
        changes: What changed between the last good night and the night of the alarm, the likeliest first.
    """

    since: Run
    reference: Run
    found: Run
    by: float
    surely: float
    items: list[Item]
    changes: list[Change]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure's nights.

    Attributes:
        task: The task, or `fidelity`.
        name: `baseline`, `compressed`, `kl` or `loglikelihood`.
        judged: Whether an alarm fails the suite.
        limit: The height from which it speaks.
        nights: The measured nights, by when they started.
        alarm: What it says now; None where nothing got worse.
    """

    task: str
    name: str
    judged: bool
    limit: float
    nights: list[ChartNight]
    alarm: Alarm | None

    @property
    def title(self) -> str:
        """Its task and name in one."""
        return f"{self.task} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A suite's nights.

    Attributes:
        suite: The suite.
        runs: Its runs of the newest one's model and compression, by when they started.
        others: How many more there are, of other models or compressions.
        figures: The figures of each of the last SHOWN runs.
        charts: The charts.
    """

    suite: str
    runs: list[Run]
    others: int
    figures: dict[str, list[Figure]]
    charts: list[Chart]

    @property
    def alarms(self) -> list[tuple[Chart, Alarm]]:
        """What got worse and is judged."""
        return [(chart, chart.alarm) for chart in self.charts if chart.alarm is not None and chart.judged]

    @property
    def verdict(self) -> Verdict:
        """FAIL where something got worse, PASS where nothing did, REPORTED with fewer than two nights to compare."""
        if self.alarms:
            return Verdict.FAIL
        compared = any(len(chart.nights) > 1 for chart in self.charts if chart.judged)
        return Verdict.PASS if compared else Verdict.REPORTED


def since_last_good(run: Run, runs: Sequence[Run]) -> tuple[Run, list[Difference]] | None:
    """Return the last good run of the same compression before a run, and what changed since; None without one."""
    before = [one for one in runs if one.started < run.started and one.verdict in GOOD and one.variant == run.variant]
    return (before[-1], differences(before[-1].facts, run.facts)) if before else None


def trend(store: Store, suite: str) -> Trend | None:
    """Judge a suite's nights; None where there are no runs of it.

    Nights are compared that asked the same questions of the same model under the same compression as the newest one.

    Args:
        store: The database.
        suite: The suite.
    """
    runs = store.runs(suite)
    if not runs:
        return None
    newest = runs[-1]
    alike = [run for run in runs if (run.model, run.variant) == (newest.model, newest.variant)]
    by_id = {run.run_id: run for run in alike if run.verdict not in UNMEASURED}
    measured: dict[tuple[str, str], list[Measured]] = {}
    for one in store.measured(suite):
        if one.run_id in by_id:
            measured.setdefault((one.task, one.name), []).append(one)
    # Each chart is of the newest questions: a run of fewer of them between two nights is no night.
    same = {key: [one for one in found if one.questions == found[-1].questions] for key, found in measured.items()}
    judged = sum(found[-1].judged for found in same.values())
    charts = [_chart(store, found, by_id, alike, max(judged, 1)) for found in same.values()]
    return Trend(
        suite=suite,
        runs=alike,
        others=len(runs) - len(alike),
        figures=store.figures([run.run_id for run in alike[-SHOWN:]]),
        charts=charts,
    )


def _chart(
    store: Store, found: Sequence[Measured], runs: dict[str, Run], all_runs: Sequence[Run], charts: int
) -> Chart:
    last = found[-1]
    asked = store.questions(last.questions)
    cusum = Cusum(
        charts=charts,
        clusters=None if asked.clusters is None else np.array(asked.clusters),
        tolerance=TOLERANCE if last.task == FIDELITY else 0.0,
    )
    # More divergence is worse, more of anything else is better.
    sign = -1.0 if last.name == KL else 1.0
    nights = []
    for one in found:
        run = runs[one.run_id]
        values = sign * one.values
        step = cusum.add(Night(values=values, good=run.verdict in GOOD, accepted=run.accepted is not None))
        nights.append(ChartNight(run=run, step=step))
    suspects = cusum.suspects()
    alarm = _alarm(nights, suspects, asked.ids, all_runs, last.task) if suspects and nights[-1].step.alarm else None
    return Chart(task=last.task, name=last.name, judged=last.judged, limit=limit(charts), nights=nights, alarm=alarm)


def _alarm(
    nights: Sequence[ChartNight], suspects: Suspects, names: Sequence[str], runs: Iterable[Run], task: str
) -> Alarm:
    last = nights[-1].step
    raised = len(nights) - 1
    while raised and nights[raised - 1].step.alarm:
        raised -= 1
    reference = nights[last.reference or 0].run
    since, found = nights[suspects.since].run, nights[raised].run
    least = TOLERANCE if task == FIDELITY else NEWLY
    items = [
        Item(number=number, name=name, worse=float(worse))
        for number, (name, worse) in enumerate(zip(names, suspects.worse, strict=True))
        if worse >= least
    ]
    between = [run for run in runs if reference.started <= run.started <= found.started]
    return Alarm(
        since=since,
        reference=reference,
        found=found,
        by=float(np.nanmean(suspects.worse)),
        surely=last.together,
        items=sorted(items, key=lambda item: (-item.worse, item.number)),
        changes=changes(between, since),
    )
