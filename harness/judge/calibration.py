"""Proposes thresholds from baseline runs alone, and says how often each of them would cry wolf.

Pure functions of a calibration run's files. A proposal is read and taken by a person; nothing is written to
thresholds.yaml.
"""

import difflib
import io
from itertools import combinations
from math import floor
from pathlib import Path
from statistics import fmean

from ruamel.yaml import YAML
from scipy.stats import binom

from harness.config.thresholds import Calibration, Threshold
from harness.errors import HarnessError
from harness.judge.pairing import pair, paired_counts
from harness.plan.plan import Plan, TaskPlan
from harness.records.run import ArmRecord, RunRecord, read_record
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from harness.stats import ALPHA
from harness.stats.planning import drop_outcomes
from harness.stats.proportion import chance_to_pass_floor, false_alarm_of_floor, share_bounds
from harness.strict import Strict

# One false alarm in a hundred nights.
FALSE_ALARM = 0.01
# Shares of questions that turn from right to wrong or back under compression that costs no accuracy. 8 % is the
# share that published comparisons of quantized models show; the measured noise of the baseline is added to them.
DISCORDANCES = (0.02, 0.08, 0.15)
ASSUMED_DISCORDANCE = 0.08
MARGINS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.10)
DECIDES = 0.95


class MarginChances(Strict):
    """What a harmless compression would come to under one margin.

    Attributes:
        max_drop: The margin.
        discordance: Share of questions that turn, half of them each way.
        passes: Chance of PASS.
        fails: Chance of FAIL: the false-alarm rate.
        inconclusive: Chance of INCONCLUSIVE.
    """

    max_drop: float
    discordance: float
    passes: float
    fails: float
    inconclusive: float


class TaskCalibration(Strict):
    """What is proposed for one task, and why.

    Attributes:
        n: Questions a run.
        accuracies: The baseline's accuracy in each run.
        low: Lower bound of the true accuracy, one-sided 95 %, exact.
        high: The upper one.
        noise: Largest share of questions that turned between two of the runs; None for a single run.
        floor: The proposed floor (point rule); None where none says anything.
        floor_false_alarm: Chance that a run of the unharmed model falls below it.
        floor_false_alarm_low: The same if the true accuracy is the lower bound.
        floor_chance: Chance that a model exactly at the floor passes.
        current_floor: The floor there is; None for none.
        current_false_alarm: Chance that a run of the unharmed model falls below that.
        max_drop: The proposed margin; None where no margin would decide.
        margins: What other margins would do.
        protocol: The protocol that all of this holds for.
        calibration: The measurement, as thresholds.yaml records it.
        reasons: Why, in words.
    """

    n: int
    accuracies: list[float]
    low: float
    high: float
    noise: float | None
    floor: float | None
    floor_false_alarm: float | None
    floor_false_alarm_low: float | None
    floor_chance: float | None
    current_floor: float | None
    current_false_alarm: float | None
    max_drop: float | None
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
        tasks: The proposals.
        diff: They as a change of thresholds.yaml; empty for none.
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
    errors, tasks = list(run.errors), dict[str, TaskCalibration]()
    if not errors:
        for name, task in plan.tasks.items():
            try:
                tasks[name] = _calibrate(folder, plan, name, task, run)
            except HarnessError as error:
                errors.append(f"{name}: {error}")
    diff = _diff(plan.model, plan.tasks, tasks, thresholds or Path(plan.thresholds)) if not errors else ""
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
    noise = max(noises) if noises else None
    # Runs of the same questions are no new questions: the worst of them stands for the model.
    low, high = share_bounds(min(rights), n)
    accuracy = fmean(rights) / n
    proposed_floor = _floor(n, min(rights) / n)
    margins = _margins(n, noise or 0.0)
    decisive = [
        chances.max_drop
        for chances in margins
        if chances.discordance == round(ASSUMED_DISCORDANCE + (noise or 0.0), 6) and chances.passes >= DECIDES
    ]
    record = read_record(folder.arm(plan.arms[0].name).record, ArmRecord)
    current = task.threshold.floor
    return TaskCalibration(
        n=n,
        accuracies=[right / n for right in rights],
        low=low,
        high=high,
        noise=noise,
        floor=proposed_floor,
        floor_false_alarm=false_alarm_of_floor(n, accuracy, proposed_floor) if proposed_floor else None,
        floor_false_alarm_low=false_alarm_of_floor(n, low, proposed_floor) if proposed_floor else None,
        floor_chance=chance_to_pass_floor(n, proposed_floor) if proposed_floor else None,
        current_floor=current,
        current_false_alarm=false_alarm_of_floor(n, accuracy, current) if current is not None else None,
        max_drop=min(decisive) if decisive else None,
        margins=margins,
        protocol=record.tasks[name].protocol_text,
        calibration=Calibration(questions=n, sglang=run.versions["sglang"], date=run.started[:10]),
        reasons=_reasons(
            task.threshold, n, accuracy, noise=noise, proposed=proposed_floor, margin=min(decisive, default=None)
        ),
    )


def _floor(n: int, accuracy: float) -> float | None:
    """Return the largest floor, in half points, that an unharmed model misses once in a hundred runs at most."""
    least = int(binom.ppf(FALSE_ALARM, n, accuracy))
    rounded = floor(least / n * 200) / 200
    return rounded if rounded > 0 else None


def _margins(n: int, noise: float) -> list[MarginChances]:
    found = []
    for max_drop in MARGINS:
        for assumed in DISCORDANCES:
            discordance = round(assumed + noise, 6)
            chances = drop_outcomes(n, discordance, 0.0, max_drop)
            found.append(
                MarginChances(
                    max_drop=max_drop,
                    discordance=discordance,
                    passes=chances.passes,
                    fails=chances.fails,
                    inconclusive=chances.inconclusive,
                )
            )
    return found


def _reasons(
    row: Threshold, n: int, accuracy: float, *, noise: float | None, proposed: float | None, margin: float | None
) -> list[str]:
    """Say why each number is proposed, or why none is and the row's own, if it has one, stays."""
    reasons = []
    if proposed is None:
        none = "no floor" if row.floor is None else f"floor stays {row.floor:g}"
        reasons.append(f"{none}: the baseline's accuracy of {accuracy:.3f} leaves nothing to fall to")
    else:
        alarm = false_alarm_of_floor(n, accuracy, proposed)
        reasons.append(
            f"floor {proposed:g}: a model of accuracy {accuracy:.3f} falls below it in {alarm:.1%} of runs of {n} "
            "questions"
        )
    assumed = f"{ASSUMED_DISCORDANCE:.0%} of the questions turn"
    if noise:
        assumed += f" beside the {noise:.1%} that turn by themselves"
    if margin is None:
        none = "no max_drop" if row.max_drop is None else f"max_drop stays {row.max_drop:g}"
        reasons.append(
            f"{none}: with {n} questions no margin up to {max(MARGINS):.0%} lets a harmless compression pass in "
            f"{DECIDES:.0%} of runs, if {assumed}: ask more questions"
        )
    else:
        reasons.append(
            f"max_drop {margin:g}: the smallest margin under which a harmless compression passes in at least "
            f"{DECIDES:.0%} of runs, if {assumed}; it fails in at most {ALPHA:.0%}"
        )
    return reasons


def _diff(model: str, plans: dict[str, TaskPlan], tasks: dict[str, TaskCalibration], file: Path) -> str:
    """Return the proposals as a unified diff of thresholds.yaml, its comments and other rows left as they are."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 118
    yaml.indent(mapping=2, sequence=4, offset=2)
    before = file.read_text(encoding="utf-8")
    content = yaml.load(before)
    for name, task in tasks.items():
        row = content["models"][model][name]
        if plans[name].threshold.report_only or (task.floor is None and task.max_drop is None):
            continue
        for key, value in (("floor", task.floor), ("max_drop", task.max_drop)):
            if value is not None:
                row[key] = value
        row["protocol"] = task.protocol
        row["calibration"] = task.calibration.model_dump()
        row["source"] = "; ".join(task.reasons)
    after = io.StringIO()
    yaml.dump(content, after)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.getvalue().splitlines(keepends=True),
        f"a/{file.name}",
        f"b/{file.name}",
    )
    return "".join(lines)
