"""Nights of a small suite, written as real run folders."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config.load import load
from harness.history.store import opened
from harness.history.sync import sync
from harness.history.trend import Alarm, Trend, trend
from harness.places import THRESHOLDS
from harness.plan.make import make_plan
from harness.plan.plan import Plan
from harness.records.run import ArmRecord, Fingerprint, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.report.build import build_report
from tests.answers import make_choice
from tests.rank_logs import FACTS
from tests.runs import write_arm, write_run
from tests.support import MANIFEST, make_options, run_folder

SUITE = "smollm2-cpu"
# Questions that a harmful night loses.
LOST = range(36)
Command = Callable[..., tuple[int, str]]
FIRST = datetime(2026, 3, 1, 1, 17, tzinfo=UTC)


def plan_of(folder: Path, number: int, *, questions: int = 128, texts: bool = False) -> Plan:
    """Plan the night of that number: BoolQ alone, with fixed texts only if asked for."""
    thresholds = folder / "thresholds.yaml"
    if not thresholds.exists():
        # By hand, not by a YAML library: the project's own form is what a patch must leave alone.
        text = THRESHOLDS.read_text()
        before, row, after = text.partition("  SmolLM2-135M-Instruct:\n    boolq:\n      metric: acc,none\n")
        judged = "      max_drop: 0.1\n      min_questions: 64\n"
        thresholds.write_text(before + row + judged + after.removeprefix("      report_only: true\n"))
    options = make_options(folder)
    suite, accepted = load(options.suite, thresholds=thresholds)
    plan = make_plan(
        suite,
        accepted,
        options,
        data=folder / "data",
        data_manifest=MANIFEST,
        repeat="nox -s accuracy --",
        now=FIRST + timedelta(days=number),
    )
    task = plan.tasks["boolq"].model_copy(update={"questions": questions})
    return plan.model_copy(update={"tasks": {"boolq": task}, "fidelity": plan.fidelity if texts else None})


def write_night(
    folder: Path,
    number: int,
    *,
    questions: int = 128,
    wrong: Collection[int] = (),
    lost: Collection[int] = (),
    facts: dict[str, str] | None = None,
    likely: float | None = None,
    report: bool = True,
    **changed: Any,
) -> RunFolder:
    """Write a night's whole folder.

    Args:
        folder: Where `reports` is.
        number: Its number.
        questions: How many were asked.
        wrong: Those that the baseline gets wrong.
        lost: Those that the compressed arm gets wrong.
        facts: What the fingerprint says beside the usual.
        likely: How likely the compressed arm holds the fixed texts' tokens, 0.6 in the baseline; None: no texts.
        report: Whether its report is there.
        changed: What write_run is told beside the usual.
    """
    plan = plan_of(folder, number, questions=questions, texts=likely is not None)
    started = (FIRST + timedelta(days=number)).isoformat()
    write_run(plan, **changed)
    record = run_folder(plan)
    text = record.run.read_text().replace("2026-01-02T03:04:05+00:00", started)
    record.run.write_text(text)
    answers = {
        arm: [make_choice(question, right=question not in missed) for question in range(questions)]
        for arm, missed in (("baseline", set(wrong)), ("compressed", set(lost)))
    }
    for arm, samples in answers.items():
        written = write_arm(plan, arm, {"boolq": samples}, likely=0.6 if arm == "baseline" else likely or 0.6)
        # As a run asks that the thresholds are for.
        done = read_record(written.record, ArmRecord)
        task = done.tasks["boolq"].model_copy(update={"protocol_text": plan.tasks["boolq"].threshold.protocol})
        write_record(written.record, done.model_copy(update={"tasks": {"boolq": task}}))
    usual = {"sglang": str(FACTS["sglang"]), "packages": "torch 2.9.0; all 100: abc", "harness": "a" * 64}
    write_record(record.fingerprint, Fingerprint(facts={**usual, **(facts or {})}))
    if report:
        write_record(record.report, build_report(record))
        # To make them takes seconds a night, and nobody looks into them.
        for file in (record.markdown, record.page):
            file.write_text("a report\n")
    return record


def flicker(rng: np.random.Generator, questions: int, share: float, *, right: float = 0.8) -> NDArray[np.float64]:
    """Return each question's chance to be right on a night, such that a share of them differs between two nights."""
    chances = (rng.random(questions) < right).astype(float)
    # 2 p (1 - p) is 1/2 at even odds.
    chances[rng.random(questions) < 2 * share] = 0.5
    return chances


def judged(reports: Path) -> Trend:
    """Take all runs in, and return the trend of the suite."""
    with opened(reports) as store:
        assert sync(store, reports) == []
        found = trend(store, SUITE)
    assert found is not None
    return found


def alarm_of(found: Trend) -> Alarm:
    """Return the one alarm of a trend."""
    [(_, alarm)] = found.alarms
    return alarm
