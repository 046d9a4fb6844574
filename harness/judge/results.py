"""What was found of each arm, task and text: the parts of a report."""

from typing import Any

from pydantic import Field

from harness.config.thresholds import FidelityThreshold, PooledThreshold, Threshold
from harness.judge.choices import Choices
from harness.judge.engagement import Engagement
from harness.judge.live_check import CheckedSums
from harness.judge.predictions import Fidelity
from harness.records.run import Traffic
from harness.stats.shift import Shift
from harness.strict import Strict


class ArmReport(Strict):
    """One arm.

    Attributes:
        server_args: What the server said it runs with; empty where it never came up.
        command: The command that started it.
        known_answer: Whether it gave the known answer; None where it never came up.
        seconds_to_ready: From its start to that answer.
        engagement: What each rank compressed.
        own_prefill: Tokens that its server prefilled before it was asked; None where that is not known.
        traffic: What its server was asked and answered; None where it never came up.
        live_check: How right the sums were that it checked; None where none were to be checked.
    """

    server_args: dict[str, Any]
    command: str
    known_answer: bool | None
    seconds_to_ready: float | None
    engagement: Engagement
    own_prefill: int | None
    traffic: Traffic | None
    live_check: CheckedSums | None


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
    """Two arms on the same questions: the baseline, and the compressed arm or the baseline again.

    Attributes:
        both_right: Right in both arms.
        baseline_only: Right in the baseline alone.
        compressed_only: Right in the other arm alone.
        both_wrong: Wrong in both arms.
        delta: Accuracy of the other arm less that of the baseline.
        delta_low: One-sided 95 % lower confidence bound of the true difference (Tango's score interval), for these
            questions alone: what decides is in `Tests`.
        delta_high: The upper one.
        bootstrap_low: The lower bound again, by a paired bootstrap.
        bootstrap_high: The upper one.
        mcnemar_p: Exact one-sided McNemar test that the other arm is less accurate.
        flips: Share of questions that turned from right to wrong or back.
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
    bootstrap_low: float
    bootstrap_high: float
    mcnemar_p: float
    flips: float
    answers_changed: int
    margin_shift: Shift | None


class JudgedDrop(Strict):
    """The bounds that decide on a drop.

    Attributes:
        max_drop: The margin.
        low: Lower bound of the true difference: above -max_drop is a PASS.
        low_sure: How sure it is, in words.
        high: The upper one: below -max_drop is a FAIL.
        high_sure: How sure it is, in words.
        design_effect: By how much questions of one cluster widen the variance.
    """

    max_drop: float
    low: float
    low_sure: str
    high: float
    high_sure: str
    design_effect: float


class Tests(Strict):
    """What the verdict on a task rests on, beside the counts.

    Attributes:
        drop: The bounds that decide; None without a `max_drop`.
        mcnemar_p: The exact McNemar test's p-value, corrected for the number of tasks (Holm).
        floor_low: Exact one-sided 95 % lower bound of the compressed arm's accuracy.
        floor_high: The upper one.
        floor_right: Right answers of the compressed arm on the floor's questions.
        floor_n: Those questions.
        floor_chance: The chance that a model exactly at the floor reaches the number itself; None for the confident
            rule and without a floor.
        floor_miss: The chance that a harmless model, of the baseline's accuracy on all questions, misses it.
        excess_flips: Share of flips beyond what the baseline does by itself.
        excess_flips_low: Its one-sided 95 % lower bound.
        excess_flips_high: The upper one.
    """

    drop: JudgedDrop | None
    mcnemar_p: float
    floor_low: float
    floor_high: float
    floor_right: int
    floor_n: int
    floor_chance: float | None
    floor_miss: float | None
    excess_flips: float
    excess_flips_low: float
    excess_flips_high: float


class Gate(Strict):
    """What one gate came to by itself: one key of thresholds.yaml.

    Attributes:
        verdict: PASS, FAIL or INCONCLUSIVE.
        reasons: Why.
    """

    verdict: str
    reasons: list[str]


class TaskReport(Strict):
    """One task.

    Attributes:
        n: Questions answered in both arms.
        asked: Questions asked.
        planned: Questions that would have been asked had the verdict not been certain before.
        baseline: The baseline's result.
        compressed: The compressed arm's.
        paired: Both on the same questions.
        noise: The baseline against itself, started again: what changes without compression; None where that arm
            was not run.
        tests: What the verdict rests on.
        warnings: What no threshold judges and nobody should overlook.
        verdict: PASS, FAIL, INCONCLUSIVE, ERROR, or REPORTED.
        reasons: Why.
        gates: What each gate came to, by its key; none where nothing is judged.
        choices: Of scored choices, what guessing scores and which way the answers shifted; None otherwise.
        threshold: What was accepted.
        protocol: What was asked and how it was read; None where the task never ran.
    """

    n: int
    asked: int
    planned: int
    baseline: ArmScore
    compressed: ArmScore
    paired: Paired
    noise: Paired | None
    tests: Tests
    warnings: list[str]
    verdict: str
    reasons: list[str]
    gates: dict[str, Gate] = Field(default_factory=dict)
    choices: Choices | None
    threshold: Threshold
    protocol: dict[str, Any] | None


class PooledReport(Strict):
    """All questions together of the tasks that have a `max_drop`.

    Attributes:
        tasks: Those tasks.
        n: Questions.
        paired: Both arms on them.
        drop: The bounds that decide.
        verdict: PASS, FAIL or INCONCLUSIVE.
        reasons: Why.
        threshold: What was accepted.
    """

    tasks: list[str]
    n: int
    paired: Paired
    drop: JudgedDrop
    verdict: str
    reasons: list[str]
    threshold: PooledThreshold


class FidelityReport(Strict):
    """How far compression moved the predictions of fixed text.

    Attributes:
        compressed: The compressed arm against the baseline.
        noise: The baseline, started again, against itself; None where that arm was not run.
        threshold: What was accepted; None for nothing.
        warnings: What no threshold judges and nobody should overlook.
        verdict: PASS, FAIL, INCONCLUSIVE, ERROR, or REPORTED.
        reasons: Why.
        gates: What each gate came to, by its key; none where nothing is judged.
        protocol: What was asked and how it was read.
    """

    compressed: Fidelity
    noise: Fidelity | None
    threshold: FidelityThreshold | None
    warnings: list[str]
    verdict: str
    reasons: list[str]
    gates: dict[str, Gate] = Field(default_factory=dict)
    protocol: dict[str, Any]
