"""The study's report.json as types. Bytes are of a 16-bit model, over those of a plain ring all-reduce."""

from typing import Any

from harness.judge.prediction_shift import Estimate, PredictionShift
from harness.strict import Strict
from harness.study.figures import Scored
from harness.study.times import PredictedTime

SCHEMA_VERSION = 2


class MeasuredPolicy(Strict):
    """One policy.

    Attributes:
        purpose: `noise`, `candidate`, `spared` or `mix`.
        name: What people call it.
        codec: The codec of a candidate; empty for a mix.
        algorithm: Its algorithm, likewise.
        ranks: Virtual ranks.
        policy: The rules.
        bytes_over_ring: Bytes that a rank sends, over those of a plain ring all-reduce.
        texts: Texts it was measured on.
        time: Its sums of one prefill on the study's link, predicted; None for what the model does not know.
        kl: Mean KL divergence over the whole vocabulary, in nats a token.
        same_top: Share of predictions whose most likely token stays.
        loglikelihood: Change of the text's log-likelihood, in nats a token.
        positions: The same by position: token 0, the first tokens after it, the rest.
        flips: What it does to the scored task; None where that was not asked.
        dropped: Why it was not measured on all texts; empty where it was.
        on_frontier: Whether no other policy of the same ranks does less harm for as few bytes.
    """

    purpose: str
    name: str
    codec: str
    algorithm: str
    ranks: int
    policy: list[dict[str, Any]]
    bytes_over_ring: float
    texts: int
    time: PredictedTime | None
    kl: Estimate
    same_top: Estimate
    loglikelihood: Estimate
    positions: dict[str, PredictionShift]
    flips: Scored | None
    dropped: str
    on_frontier: bool


class MeasuredSite(Strict):
    """One site, compressed alone.

    Attributes:
        codec: By which codec.
        site: `attention` or `ffn`.
        layer: The layer, from 0.
        kl: Mean KL divergence, in nats a token.
    """

    codec: str
    site: str
    layer: int
    kl: float


class MeasuredRows(Strict):
    """The PR's codec in some rows of every sum alone.

    Attributes:
        by: `crest` or `position`.
        name: Which rows.
        low: From this percentile of crest factors, or this position, on.
        high: Up to here; None: all that follow.
        kl: Mean KL divergence, in nats a token.
    """

    by: str
    name: str
    low: float
    high: float | None
    kl: Estimate


class Additivity(Strict):
    """Whether the harms of the sites add up.

    Attributes:
        codec: The codec.
        sum_alone: The sum over all sites, each compressed alone.
        together: All sites compressed at once, on the same texts.
    """

    codec: str
    sum_alone: float
    together: float


class Recommended(Strict):
    """The policy with the fewest bytes that surely keeps the budget, of those that real ranks can run.

    Attributes:
        name: What people call it.
        policy: The rules.
        kl: Its harm.
        bytes_over_ring: Its bytes.
    """

    name: str
    policy: list[dict[str, Any]]
    kl: Estimate
    bytes_over_ring: float


class Confirmation(Strict):
    """The recommended policy in a real run, beside what the virtual ranks predicted.

    Attributes:
        run: The run's folder.
        verdict: Its verdict.
        predicted: Mean KL divergence over the whole vocabulary, of virtual ranks.
        run_kl: The same of the run.
        difference: Largest difference of a log-probability between the run and the virtual ranks, in nats, by arm.
        agrees: Whether the run's mean is within the predicted interval.
    """

    run: str
    verdict: str
    predicted: Estimate
    run_kl: Estimate
    difference: dict[str, float]
    agrees: bool


class StudyReport(Strict):
    """A study's report.

    Attributes:
        schema_version: Of this form.
        run_id: The study.
        suite: The suite whose model and server it took.
        model: The model.
        device: `cpu`, `cuda` or `npu`.
        budget_kl: The harm that was to be kept, in nats a token.
        ranks: Virtual ranks; sites and recommendation are those of the first.
        link: What joins the ranks, for the predicted times.
        prefill: Tokens of the prefill whose time is predicted.
        noise: What changes by itself: the plain sums, measured again, by ranks.
        answers_noise: How the scored task's answers change by themselves, by ranks.
        candidates: Every policy that treats all sums alike, and every mix.
        sites: Every site alone.
        rows: The PR's codec in some rows alone, by their crest factor and by their position.
        spared: The PR's codec with its most harmful sites left plain, on fewer texts.
        additivity: Whether the harms add up, by codec.
        recommended: None where no policy surely keeps the budget.
        confirmed: None where no run confirmed it.
        versions: Of everything that took part.
        repeat: The command that repeats the study.
    """

    schema_version: int
    run_id: str
    suite: str
    model: str
    device: str
    budget_kl: float
    ranks: list[int]
    link: str
    prefill: int
    noise: dict[str, Estimate]
    answers_noise: dict[str, Scored]
    candidates: list[MeasuredPolicy]
    sites: list[MeasuredSite]
    rows: list[MeasuredRows]
    spared: list[MeasuredPolicy]
    additivity: list[Additivity]
    recommended: Recommended | None
    confirmed: Confirmation | None
    versions: dict[str, str]
    repeat: str
