"""Says what thresholds take and what they would miss, from starts of the baseline alone.

How much a model may lose is its owner's to say; a calibration says how many questions that takes. A floor is proposed
from repeated starts of the same questions: new ones are not asked. Pure functions of a calibration run's files. A
proposal is read and taken by a person; nothing is written to thresholds.yaml.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import floor, sqrt
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import norm, t

from harness.config.thresholds import Calibration, Threshold
from harness.errors import HarnessError
from harness.judge.margin_chances import (
    ASSUMED_DISCORDANCE,
    DISCORDANCES,
    MarginChances,
    margin_chances,
    margin_reasons,
)
from harness.judge.pairing import pair, paired_counts
from harness.judge.threshold_patch import thresholds_patch
from harness.plan.plan import Plan, TaskPlan
from harness.records.run import ArmRecord, RunRecord, read_record
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from harness.strict import Strict

# One false alarm in a hundred nights.
FALSE_ALARM = 0.01
# From fewer starts nobody knows by how much starts differ.
FEWEST_STARTS = 3


class TaskCalibration(Strict):
    """What was found of one task, and what is proposed.

    Attributes:
        n: Questions a start.
        accuracies: The baseline's accuracy in each start.
        spread: Standard deviation from start to start; None for a single one.
        noise: Largest share of questions that turned between two starts; None for a single one.
        floor: The proposed floor (point rule, these questions); None where none is proposed.
        floor_alarms: By the share of questions that harmless compression turns, how often it falls below that.
        current_floor: The floor there is; None for none.
        current_alarms: How often it falls below that.
        margins: What margins take and miss.
        protocol: The protocol that all of this holds for.
        calibration: The measurement, as thresholds.yaml records it.
        reasons: Why, in words.
    """

    n: int
    accuracies: list[float]
    spread: float | None
    noise: float | None
    floor: float | None
    floor_alarms: dict[str, float]
    current_floor: float | None
    current_alarms: dict[str, float]
    margins: list[MarginChances]
    protocol: str
    calibration: Calibration
    reasons: list[str]


class CalibrationReport(Strict):
    """A calibration run's result.

    Attributes:
        run_id: The run.
        suite: Its suite.
        model: Its model.
        errors: What went wrong; nothing is proposed then.
        tasks: What was found of each task.
        diff: The proposals as a change of thresholds.yaml; empty for none.
    """

    run_id: str
    suite: str
    model: str
    errors: list[str]
    tasks: dict[str, TaskCalibration]
    diff: str


def build_calibration(folder: RunFolder, thresholds: Path | None = None) -> CalibrationReport:
    """Build the result of the calibration run in `folder`.

    Args:
        folder: The run's folder.
        thresholds: The file that the proposed change is of; the run's own if None.

    Raises:
        HarnessError: The plan or the run's record is missing or of another version.
    """
    plan = read_record(folder.plan, Plan)
    run = read_record(folder.run, RunRecord)
    errors, tasks = run.ended_by, dict[str, TaskCalibration]()
    if not errors:
        for name, task in plan.tasks.items():
            try:
                tasks[name] = _calibrate(folder, plan, name, task, run)
            except HarnessError as error:
                errors.append(f"{name}: {error}")
    diff = _diff(plan.model, tasks, thresholds or Path(plan.thresholds)) if not errors else ""
    return CalibrationReport(
        run_id=plan.run_id, suite=plan.suite, model=plan.model, errors=errors, tasks=tasks, diff=diff
    )


def _calibrate(folder: RunFolder, plan: Plan, name: str, task: TaskPlan, run: RunRecord) -> TaskCalibration:
    filter_ = task.threshold.filter
    runs = [
        [sample for sample in read_samples(folder.arm(arm.name).samples(name)) if sample.filter == filter_]
        for arm in plan.arms
    ]
    failed = sum(sample.error is not None for samples in runs for sample in samples)
    if failed:
        raise HarnessError(f"{failed} requests failed; a failed request is not a wrong answer")
    rights = [sum(bool(sample.right) for sample in samples) for samples in runs]
    n = len(runs[0])
    if {len(samples) for samples in runs} != {task.questions}:
        raise HarnessError(
            f"{', '.join(str(len(samples)) for samples in runs)} questions were answered, not {task.questions}"
        )
    noises = [
        (counts.baseline_only + counts.compressed_only) / n
        for one, other in combinations(runs, 2)
        for counts in (paired_counts(pair(one, other)),)
    ]
    starts = Starts(n=n, accuracies=[right / n for right in rights], noise=max(noises, default=None))
    row = task.threshold
    proposed, why = propose_floor(row, starts, allow_wider=plan.allow_wider)
    margins = margin_chances(row, n, starts.noise or 0.0)
    record = read_record(folder.arm(plan.arms[0].name).record, ArmRecord)
    return TaskCalibration(
        n=n,
        accuracies=list(starts.accuracies),
        spread=starts.spread,
        noise=starts.noise,
        floor=proposed,
        floor_alarms={} if proposed is None else starts.alarms(proposed),
        current_floor=row.floor,
        current_alarms={} if row.floor is None else starts.alarms(row.floor),
        margins=margins,
        protocol=record.tasks[name].protocol_text,
        calibration=Calibration(questions=n, sglang=run.versions["sglang"], date=run.started[:10]),
        reasons=[why, *margin_reasons(row, n, margins)],
    )


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Starts of the baseline, each asked the same questions.

    Attributes:
        n: Questions.
        accuracies: Each start's accuracy.
        noise: Largest share of questions that turned between two of them; None for one start.
    """

    n: int
    accuracies: Sequence[float]
    noise: float | None

    @property
    def spread(self) -> float | None:
        """Standard deviation from start to start: as seen, or what questions turning one by one come to, if more."""
        if self.noise is None:
            return None
        # Two starts differ by the sum of both starts' deviations, so each has half of the variance.
        return max(stdev(self.accuracies), sqrt(self.noise / (2 * self.n)))

    def alarms(self, floor_: float) -> dict[str, float]:
        """Return how often a harmless compressed arm falls below a floor, by the share of questions that it turns."""
        found = {}
        for discordance in DISCORDANCES:
            variance = self._next_start**2 + discordance / self.n
            found[f"{discordance:g}"] = float(norm.cdf((floor_ - fmean(self.accuracies)) / sqrt(variance)))
        return found

    def floor(self) -> float | None:
        """Return the largest floor, in half points, that a harmless compressed arm misses once in a hundred runs."""
        of_starts = float(t.isf(FALSE_ALARM, len(self.accuracies) - 1)) * self._next_start
        of_turns = float(norm.isf(FALSE_ALARM)) * sqrt(ASSUMED_DISCORDANCE / self.n)
        rounded = floor((fmean(self.accuracies) - sqrt(of_starts**2 + of_turns**2)) * 200) / 200
        return rounded if rounded > 0 else None

    @property
    def _next_start(self) -> float:
        """Standard deviation of one more start from the mean of these."""
        return (self.spread or 0.0) * sqrt(1 + 1 / len(self.accuracies))


def propose_floor(row: Threshold, starts: Starts, *, allow_wider: bool) -> tuple[float | None, str]:
    """Return the floor to propose for a row, or None, and why."""
    stays = "no floor" if row.floor is None else f"floor stays {row.floor:g}"
    n, accuracy = starts.n, fmean(starts.accuracies)
    if row.report_only:
        return None, f"{stays}: the row is report_only"
    if row.floor_rule != "point":
        return None, f"{stays}: its rule is {row.floor_rule}, and starts of the same questions make a point floor"
    if len(starts.accuracies) < FEWEST_STARTS:
        return None, (
            f"{stays}: by how much starts differ is known from {FEWEST_STARTS} starts on, here "
            f"{len(starts.accuracies)}: give --runs {FEWEST_STARTS} or more"
        )
    found = starts.floor()
    if found is None:
        return None, f"{stays}: the baseline's accuracy of {accuracy:.3f} leaves nothing to fall to"
    why = (
        f"floor {found:g} of these {n} questions: harmless compression that turns {ASSUMED_DISCORDANCE:.0%} of them "
        f"falls below it in {starts.alarms(found)[f'{ASSUMED_DISCORDANCE:g}']:.1%} of runs at most"
    )
    if row.floor is not None and found < row.floor and not allow_wider:
        return None, f"{stays}: {why}; that is wider than today's, which takes --allow-wider"
    return found, why


def _diff(model: str, tasks: dict[str, TaskCalibration], file: Path) -> str:
    """Return the proposals as a change of thresholds.yaml."""
    changes: dict[tuple[str, ...], object] = {}
    for name, task in tasks.items():
        if task.floor is not None:
            # A floor found with these questions says nothing of fewer of them. The source is the owner's.
            values = {
                "floor": task.floor,
                "min_questions": task.n,
                "protocol": task.protocol,
                "calibration": task.calibration.model_dump(),
            }
            changes |= {("models", model, name, key): value for key, value in values.items()}
    return thresholds_patch(file, changes)
