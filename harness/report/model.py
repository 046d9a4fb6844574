"""report.json as types. Shares and accuracies are between 0 and 1; seconds are wall clock."""

from typing import Any

from harness.judge.results import ArmReport, FidelityReport, PooledReport, TaskReport
from harness.judge.time_spent import TimeSpent
from harness.strict import Strict

SCHEMA_VERSION = 3


class Report(Strict):
    """A run's report.

    Attributes:
        schema_version: Of this form.
        run_id: The run.
        suite: Its suite.
        model: Its model.
        device: `cpu`, `cuda` or `npu`.
        started: ISO time, UTC.
        verdict: PASS, FAIL, INCONCLUSIVE or ERROR.
        exit_code: 0, 1, 2 or 3.
        reasons: Why.
        decision: What a person may do after this run.
        warnings: What no threshold judges and nobody should overlook.
        notes: What a reviewer may want to know.
        arms: The arms.
        tasks: The tasks.
        pooled: All tasks together that have a `max_drop`; None where that is not judged.
        fidelity: How far the predictions of fixed text moved; None where that was not asked for.
        data: What the data is and hashes to.
        timings: Seconds.
        time: What they went into; None in reports that were written before that was told.
        versions: Of everything that took part.
        repeat: The command that repeats the run.
        rebuild: The command that rebuilds this report from the run's files.
    """

    schema_version: int
    run_id: str
    suite: str
    model: str
    device: str
    started: str
    verdict: str
    exit_code: int
    reasons: list[str]
    decision: str
    warnings: list[str]
    notes: list[str]
    arms: dict[str, ArmReport]
    tasks: dict[str, TaskReport]
    pooled: PooledReport | None
    fidelity: FidelityReport | None
    data: dict[str, Any]
    timings: dict[str, float]
    time: TimeSpent | None = None
    versions: dict[str, str]
    repeat: str
    rebuild: str
