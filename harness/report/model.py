"""report.json as types. Shares and accuracies are between 0 and 1; seconds are wall clock."""

from typing import Any

from harness.config import Threshold
from harness.engagement import Engagement
from harness.live_check import LiveCheck
from harness.yaml_file import Strict

SCHEMA_VERSION = 1


class ArmReport(Strict):
    """One arm.

    Attributes:
        server_args: What the server said it runs with; empty where it never came up.
        command: The command that started it.
        known_answer: Whether it gave the known answer; None where it never came up.
        seconds_to_ready: From its start to that answer.
        engagement: What each rank compressed.
        live_check: How right the sums were that it checked; None where none were to be checked.
    """

    server_args: dict[str, Any]
    command: str
    known_answer: bool | None
    seconds_to_ready: float | None
    engagement: Engagement
    live_check: LiveCheck | None


class ArmScore(Strict):
    """One arm's result in one task.

    Attributes:
        accuracy: Share of right answers among those paired; None for none.
        failed: Requests that failed.
        truncated: Share of answers that the token cap cut; None for scored choices.
        seconds: How long the task took.
    """

    accuracy: float | None
    failed: int
    truncated: float | None
    seconds: float | None


class Paired(Strict):
    """Both arms on the same questions.

    Attributes:
        both_right: Right in both arms.
        baseline_only: Right in the baseline alone.
        compressed_only: Right in the compressed arm alone.
        both_wrong: Wrong in both arms.
        delta: Accuracy of the compressed arm less that of the baseline.
        delta_low: One-sided 95 % lower confidence bound of the true difference (Tango).
        delta_high: The upper one.
        mcnemar_p: Exact one-sided McNemar test that compression costs accuracy.
        answers_changed: Questions whose answer changed, right or wrong.
        margin_shift: For scored choices: how logp(right) - logp(best wrong) changed, in nats; None otherwise.
    """

    both_right: int
    baseline_only: int
    compressed_only: int
    both_wrong: int
    delta: float
    delta_low: float
    delta_high: float
    mcnemar_p: float
    answers_changed: int
    margin_shift: "MarginShift | None"


class MarginShift(Strict):
    """How far the margin of the right choice moved from the baseline to the compressed arm, in nats.

    Attributes:
        mean: Mean.
        spread: Standard deviation.
        largest: Largest absolute shift.
    """

    mean: float
    spread: float
    largest: float


class TaskReport(Strict):
    """One task.

    Attributes:
        n: Questions answered in both arms.
        asked: Questions asked.
        baseline: The baseline's result.
        compressed: The compressed arm's.
        paired: Both on the same questions.
        noise: The baseline against itself, started again: what changes without compression; None where that arm
            was not run. `compressed_only` and the like then mean the second baseline.
        verdict: PASS, FAIL, INCONCLUSIVE, ERROR, or REPORTED.
        reasons: Why.
        threshold: What was accepted.
        protocol: What was asked and how it was read; None where the task never ran.
    """

    n: int
    asked: int
    baseline: ArmScore
    compressed: ArmScore
    paired: Paired
    noise: Paired | None
    verdict: str
    reasons: list[str]
    threshold: Threshold
    protocol: dict[str, Any] | None


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
        notes: What a reviewer should know and no rule judges.
        arms: The arms.
        tasks: The tasks.
        data: What the data is and hashes to.
        timings: Seconds.
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
    notes: list[str]
    arms: dict[str, ArmReport]
    tasks: dict[str, TaskReport]
    data: dict[str, Any]
    timings: dict[str, float]
    versions: dict[str, str]
    repeat: str
    rebuild: str
