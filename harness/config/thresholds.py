"""thresholds.yaml as people write it: what is accepted, per model and task, and why."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from harness.strict import Positive, Share, Strict


class Calibration(Strict):
    """The measurement that a threshold rests on.

    Attributes:
        questions: How many were asked.
        sglang: SGLang's version.
        date: When, as YYYY-MM-DD.
    """

    questions: Positive
    sglang: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class KnownAnswers(Strict):
    """What is known to happen to a task's answers: only what is surely beyond it is a WARNING.

    Attributes:
        what: Which compression, where and when it was measured.
        margin_shift: Root mean square by which the margins of scored answers move, in nats.
        answers_changed: Share of answers that change, for generated ones of those that turn, 0 to 1.
        changes_by_itself: Share of answers that change from one start of the baseline to the next, 0 to 1.
    """

    what: str
    margin_shift: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    answers_changed: Share = 0.0
    changes_by_itself: Share = 0.0


class Threshold(Strict):
    """What one task's result must be for one model.

    Attributes:
        metric: lm-eval's name of the metric and the filter it is taken from, `metric,filter`.
        floor: Smallest accuracy of the compressed arm, 0 to 1.
        floor_rule: `point`: the number itself; `confident`: what the number says with 95 % confidence; `upstream`:
            the number itself is shown, a miss is a WARNING, and only an accuracy surely below the floor FAILs.
        floor_questions: The floor is looked for on the data's first so many questions, in the data's own order, all
            of which must be asked; None for all questions of the run.
        max_drop: Largest accuracy that compression may cost against the baseline, 0 to 1 (0.02 is 2 points).
        max_flips: Largest share of questions that compression may turn from right to wrong or back, less what
            the baseline does by itself where that was measured, 0 to 1.
        max_truncated: Largest share of answers that ended at the token cap, 0 to 1.
        min_questions: Fewer questions than these decide nothing about floor and drop.
        report_only: The result is shown and judged by nobody.
        protocol: The protocol that the numbers hold for, as the harness words it; another one is refused.
        calibration: The measurement behind the numbers, where there is one.
        known: What is known to happen to this model's answers.
        source: Where the numbers come from.
    """

    metric: str
    floor: Share | None = None
    floor_rule: Literal["point", "confident", "upstream"] = "point"
    floor_questions: Positive | None = None
    max_drop: Share | None = None
    max_flips: Share | None = None
    max_truncated: Share | None = None
    min_questions: Positive = 1
    report_only: bool = False
    protocol: str | None = None
    calibration: Calibration | None = None
    known: KnownAnswers | None = None
    source: str

    @property
    def scored_by(self) -> str:
        """The metric, without the filter."""
        return self.metric.split(",")[0]

    @property
    def filter(self) -> str:
        """The filter that the metric is taken from."""
        return self.metric.split(",")[1]

    @model_validator(mode="after")
    def _judges_or_reports(self) -> Self:
        judged = self.floor is not None or self.max_drop is not None
        if judged and self.report_only:
            raise ValueError("has `report_only: true` beside a floor or a max_drop: keep one or the other")
        if not judged and not self.report_only:
            raise ValueError("judges nothing: give a `floor` or a `max_drop`, or say `report_only: true`")
        if self.floor_rule != "point" and self.floor is None:
            raise ValueError("has a `floor_rule` and no `floor`: add the floor, or remove the rule")
        if self.floor_questions is not None and self.floor is None:
            raise ValueError("has `floor_questions` and no `floor`: add the floor, or remove them")
        if self.calibration is not None and self.protocol is None:
            raise ValueError(
                "has a `calibration` without its `protocol`: a number holds for the protocol it was made with"
            )
        return self


Nats = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class KnownPredictions(Strict):
    """What is known to happen to a model's predictions of fixed text: what a PASS is no worse than.

    Attributes:
        what: Which compression, where and when it was measured.
        mean_kl: Mean KL divergence, in nats a token.
        text_kl: That of the worst text.
        loglikelihood_drop: How much less likely the text's tokens become, in nats a token.
        same_top: Share of predictions whose most likely token stays.
    """

    what: str
    mean_kl: Nats
    text_kl: Nats
    loglikelihood_drop: Annotated[float, Field(allow_inf_nan=False)]
    same_top: Annotated[float, Field(ge=0, le=1)]


class FidelityThreshold(Strict):
    """How far compression may move one model's predictions of fixed text.

    Attributes:
        max_mean_kl: Largest mean KL divergence of the next token's distribution from the baseline's, in nats a token.
        max_text_kl: Largest mean KL divergence of any one text.
        max_loglikelihood_drop: How much less likely the texts' own tokens may become, in nats a token.
        min_same_top: Smallest share of predictions whose most likely token stays the same, 0 to 1.
        report_only: The predictions are shown and judged by nobody.
        known: What is known to happen to this model.
        source: Where the numbers come from.
    """

    max_mean_kl: Nats | None = None
    max_text_kl: Nats | None = None
    max_loglikelihood_drop: Nats | None = None
    min_same_top: Annotated[float, Field(ge=0, le=1)] | None = None
    report_only: bool = False
    known: KnownPredictions | None = None
    source: str

    @property
    def judges(self) -> bool:
        """Whether anything is judged."""
        limits = (self.max_mean_kl, self.max_text_kl, self.max_loglikelihood_drop, self.min_same_top)
        return any(limit is not None for limit in limits)

    @model_validator(mode="after")
    def _judges_or_reports(self) -> Self:
        if self.judges and self.report_only:
            raise ValueError("has `report_only: true` beside a limit: keep one or the other")
        if not self.judges and not self.report_only:
            raise ValueError(
                "judges nothing: give a `max_mean_kl`, `max_text_kl`, `max_loglikelihood_drop` or `min_same_top`, or "
                "say `report_only: true`"
            )
        return self


class PooledThreshold(Strict):
    """What compression may cost over the questions of all tasks together that have a `max_drop`.

    Attributes:
        max_drop: Largest accuracy that compression may cost against the baseline, 0 to 1 (0.01 is 1 point).
        source: Where the number comes from.
    """

    max_drop: Share
    source: str


class ModelThresholds(Strict):
    """What is accepted of one model: a row a task, one for all tasks, and one for its predictions of fixed text.

    Attributes:
        pooled: What all tasks together may lose; None: each is judged alone.
        fidelity: How far the predictions may move; None: a large shift is a warning.
    """

    # Every other key is a task's row, and checked as one.
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Threshold]

    pooled: PooledThreshold | None = None
    fidelity: FidelityThreshold | None = None

    @property
    def tasks(self) -> dict[str, Threshold]:
        """The tasks' rows, by task."""
        return self.__pydantic_extra__

    @model_validator(mode="after")
    def _pools_something(self) -> Self:
        if self.pooled is not None and all(row.max_drop is None for row in self.tasks.values()):
            raise ValueError("has a `pooled` row and no task with a `max_drop`: there is nothing to pool")
        return self


class Thresholds(Strict):
    """thresholds.yaml: per model, what is accepted and why."""

    models: dict[str, ModelThresholds]
