"""A suite's good nights as thresholds are held against them: figures, and right and wrong of every question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.history.record import Figure
from harness.history.store import Measured, Run, Store
from harness.history.trend import GOOD, trend
from harness.plan.plan import BASELINE, COMPRESSED
from harness.stats import PairedCounts
from harness.stats.clusters import design_effect


@dataclass(frozen=True, kw_only=True)
class GoodNights:
    """A suite's good nights.

    Attributes:
        runs: All runs of the newest one's model and compression.
        good: The good ones of them.
        figures: The figures of each.
        answers: Right and wrong of each good run's arm, by task, arm and run; those of the newest questions.
        clusters: Each task's clusters.
    """

    runs: Sequence[Run]
    good: Sequence[Run]
    figures: Mapping[str, list[Figure]]
    answers: Mapping[tuple[str, str], dict[str, NDArray[np.float64]]]
    clusters: Mapping[str, list[int] | None]

    def values(self, task: str, name: str) -> list[Figure]:
        """Return a figure of each good night that has it."""
        every = [one for run in self.good for one in self.figures.get(run.run_id, ())]
        return [one for one in every if (one.task, one.name) == (task, name)]

    def counts(self, tasks: Sequence[str], run: str) -> PairedCounts | None:
        """Return a run's table of some tasks together; None where an answer is missing."""
        arms = [[self.answers.get((task, arm), {}).get(run) for task in tasks] for arm in (BASELINE, COMPRESSED)]
        before, after = ([values for values in arm if values is not None] for arm in arms)
        if (
            len(before) < len(tasks)
            or len(after) < len(tasks)
            or any(np.isnan(values).any() for values in before + after)
        ):
            return None
        clusters = [
            (task, number)
            for task, values in zip(tasks, before, strict=True)
            for number in (self.clusters[task] or range(len(values)))
        ]
        one, other = np.concatenate(before), np.concatenate(after)
        return PairedCounts(
            both_right=int(((one == 1) & (other == 1)).sum()),
            baseline_only=int(((one == 1) & (other == 0)).sum()),
            compressed_only=int(((one == 0) & (other == 1)).sum()),
            both_wrong=int(((one == 0) & (other == 0)).sum()),
            design_effect=design_effect((other - one).astype(int).tolist(), clusters),
        )


def good_nights(store: Store, suite: str) -> GoodNights:
    """Return a suite's good nights, of the newest run's model and compression."""
    found = trend(store, suite)
    runs = found.runs if found else []
    # What an open alarm is about is no good night, though it passed.
    suspected = min((alarm.since.started for _, alarm in (found.alarms if found else ())), default=None)
    good = [run for run in runs if run.verdict in GOOD and (suspected is None or run.started < suspected)]
    ids = {run.run_id for run in good}
    by_arm: dict[tuple[str, str], list[Measured]] = {}
    for one in store.measured(suite):
        if one.run_id in ids:
            by_arm.setdefault((one.task, one.name), []).append(one)
    newest = {key: measured[-1].questions for key, measured in by_arm.items()}
    return GoodNights(
        runs=runs,
        good=good,
        figures=store.figures([run.run_id for run in good]),
        answers={
            key: {one.run_id: one.values for one in measured if one.questions == newest[key]}
            for key, measured in by_arm.items()
        },
        clusters={task: store.questions(name).clusters for (task, _), name in newest.items()},
    )
