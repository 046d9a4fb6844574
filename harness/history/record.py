"""What the memory keeps of one run, made of its own files and left beside them as history.json.

It is small enough to stay when a run's arms are pruned, and all that the database is rebuilt from.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.pairing import counted
from harness.judge.prediction_shift import Estimate
from harness.judge.results import FidelityReport, TaskReport
from harness.plan.plan import BASELINE, COMPRESSED, Plan
from harness.records.predictions import FIDELITY
from harness.records.run import Fingerprint, read_record
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample, read_samples
from harness.report.build import build_report
from harness.report.model import SCHEMA_VERSION, Report
from harness.strict import Strict

RECORD_VERSION = 1
POOLED = "pooled"
KL, LOGLIKELIHOOD = "kl", "loglikelihood"


class Figure(Strict):
    """One number of a run, with what is accepted of it.

    Attributes:
        task: The task, `fidelity`, `pooled`, or empty for the run as a whole.
        name: Which number.
        value: The number; shares are between 0 and 1, times in seconds.
        low: Its one-sided lower bound, 95 % sure; None for none.
        high: The upper one.
        limit: The floor or the margin that it is held to; None where it is not.
    """

    task: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    limit: float | None = None


class Series(Strict):
    """What one run found of each question or text: what nights are paired by.

    Attributes:
        task: The task, or `fidelity`.
        name: `baseline` or `compressed`, of which 1 is right and 0 wrong; of texts `kl` and `loglikelihood`, in nats
            a token.
        questions: The hash of the questions, in whose order the values stand.
        judged: Whether a threshold judges the task; where none does, neither does the memory.
        values: One a question; None for one without an answer.
    """

    task: str
    name: str
    questions: str
    judged: bool
    values: list[float | None]


class Questions(Strict):
    """What was asked.

    Attributes:
        ids: The hash of each document, or a text's name and hash.
        clusters: Each question's cluster, numbered; None where all stand alone.
    """

    ids: list[str]
    clusters: list[int] | None


class RunMemory(Strict):
    """One run.

    Attributes:
        version: Of this form.
        run_id: The run.
        suite: Its suite.
        model: Its model.
        device: `cpu`, `cuda` or `npu`.
        variant: What compresses: nights of another are another series.
        started: ISO time, UTC.
        verdict: PASS, FAIL, INCONCLUSIVE or ERROR, as it was judged at first.
        reasons: Why.
        repeat: The command that repeats it.
        facts: What its answers depend on and what it was judged by, by name.
        figures: Its numbers.
        series: Its answers, question by question.
        questions: What was asked, by hash.
    """

    version: int
    run_id: str
    suite: str
    model: str
    device: str
    variant: str
    started: str
    verdict: str
    reasons: list[str]
    repeat: str
    facts: dict[str, str]
    figures: list[Figure]
    series: list[Series]
    questions: dict[str, Questions]


def remember(folder: RunFolder) -> RunMemory:
    """Return what there is to remember of a run; its folder is only read.

    Args:
        folder: The run's folder, finished or not.

    Raises:
        HarnessError: It holds no run of this version.
    """
    plan = read_record(folder.plan, Plan)
    report = _report(folder)
    questions: dict[str, Questions] = {}
    series = [*_answers(folder, plan, questions), *_texts(report, questions)]
    return RunMemory(
        version=RECORD_VERSION,
        run_id=plan.run_id,
        suite=plan.suite,
        model=plan.model,
        device=plan.device,
        variant=_variant(plan),
        started=report.started,
        verdict=report.verdict,
        reasons=report.reasons,
        repeat=plan.repeat,
        facts=_facts(folder, plan, report),
        figures=list(_figures(report)),
        series=series,
        questions=questions,
    )


def _report(folder: RunFolder) -> Report:
    try:
        found = read_record(folder.report, Report)
    except HarnessError:
        return build_report(folder)
    return found if found.schema_version == SCHEMA_VERSION else build_report(folder)


def _variant(plan: Plan) -> str:
    if plan.policy is not None:
        return f"policy {_hash(repr(plan.policy))[:12]}"
    settings = plan.arm(COMPRESSED).settings
    claims = f" as {settings.claims}" if settings.claims else ""
    return f"{settings.codec}{claims} {settings.algorithm}"


def _facts(folder: RunFolder, plan: Plan, report: Report) -> dict[str, str]:
    """Return the fingerprint, the versions beside it, and every threshold by itself."""
    facts = dict(read_record(folder.fingerprint, Fingerprint).facts) if folder.fingerprint.exists() else {}
    facts |= {f"version of {name}": text for name, text in report.versions.items() if name not in facts}
    # What is in it is said by its packages; where it is says which of several it was.
    facts["interpreter"] = str(Path(plan.arms[0].argv[0]).parent)
    rows = {name: task.threshold.model_dump(exclude_none=True) for name, task in plan.tasks.items()}
    if plan.pooled is not None:
        rows[POOLED] = plan.pooled.model_dump(exclude_none=True)
    if plan.fidelity is not None and plan.fidelity.threshold is not None:
        rows[FIDELITY] = plan.fidelity.threshold.model_dump(exclude_none=True)
    return facts | {f"threshold {task}.{key}": str(value) for task, row in rows.items() for key, value in row.items()}


def _answers(folder: RunFolder, plan: Plan, questions: dict[str, Questions]) -> Iterator[Series]:
    for name, task in plan.tasks.items():
        for arm in (BASELINE, COMPRESSED):
            # A baseline that was taken over is no night of its own.
            if arm == BASELINE and plan.reuse_baseline is not None:
                continue
            try:
                found = read_samples(folder.arm(arm).samples(name))
            except HarnessError:
                # It was never asked, or the report says what is wrong with the file.
                continue
            samples = sorted(counted(found, task.threshold.filter, task.questions), key=lambda sample: sample.doc_id)
            if samples:
                yield Series(
                    task=name,
                    name=arm,
                    questions=_add(questions, name, [sample.doc_hash for sample in samples], _clusters(samples)),
                    judged=not task.threshold.report_only,
                    values=[None if sample.right is None else float(sample.right) for sample in samples],
                )


def _clusters(samples: Sequence[Sample]) -> list[int] | None:
    if all(sample.cluster is None for sample in samples):
        return None
    numbers: dict[str, int] = {}
    names = [sample.cluster or f"alone {sample.doc_id}" for sample in samples]
    return [numbers.setdefault(name, len(numbers)) for name in names]


def _texts(report: Report, questions: dict[str, Questions]) -> Iterator[Series]:
    if report.fidelity is None or not report.fidelity.compressed.by_text:
        return
    texts = report.fidelity.compressed.by_text
    asked = _add(questions, FIDELITY, [f"{text.text} {text.predictions}" for text in texts], None)
    threshold = report.fidelity.threshold
    judged = threshold is not None and threshold.judges
    for name, values in (
        (KL, [text.kl for text in texts]),
        (LOGLIKELIHOOD, [text.loglikelihood for text in texts]),
    ):
        yield Series(task=FIDELITY, name=name, questions=asked, judged=judged, values=list(values))


def _add(questions: dict[str, Questions], task: str, ids: list[str], clusters: list[int] | None) -> str:
    name = _hash("\n".join((task, *ids)))[:32]
    questions[name] = Questions(ids=ids, clusters=clusters)
    return name


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _figures(report: Report) -> Iterator[Figure]:
    for name, task in report.tasks.items():
        yield from _of_task(name, task)
    if report.pooled is not None:
        paired, margin = report.pooled.paired, -report.pooled.threshold.max_drop
        low, high = paired.delta_low, paired.delta_high
        yield Figure(task=POOLED, name="change", value=paired.delta, low=low, high=high, limit=margin)
    if report.fidelity is not None:
        yield from _of_fidelity(report.fidelity)
    for name, seconds in report.timings.items():
        yield Figure(task="", name=f"seconds {name}", value=seconds)


def _of_task(name: str, task: TaskReport) -> Iterator[Figure]:
    row = task.threshold
    for arm, result, floor in ((BASELINE, task.baseline, None), (COMPRESSED, task.compressed, row.floor)):
        if result.accuracy is not None:
            yield Figure(task=name, name=arm, value=result.accuracy, limit=floor)
    if not task.n:
        return
    paired, margin = task.paired, None if row.max_drop is None else -row.max_drop
    yield Figure(
        task=name, name="change", value=paired.delta, low=paired.delta_low, high=paired.delta_high, limit=margin
    )
    yield Figure(task=name, name="flips", value=paired.flips, limit=row.max_flips)
    yield Figure(task=name, name="answers changed", value=paired.answers_changed / task.n)


def _of_fidelity(fidelity: FidelityReport) -> Iterator[Figure]:
    shift, row = fidelity.compressed.overall, fidelity.threshold
    if shift is None:
        return

    def figure(name: str, found: Estimate, limit: float | None, *, sign: float = 1.0) -> Figure:
        low, high = sorted((sign * found.low, sign * found.high))
        return Figure(task=FIDELITY, name=name, value=sign * found.mean, low=low, high=high, limit=limit)

    yield figure("mean KL", shift.kl, row.max_mean_kl if row else None)
    drop = row.max_loglikelihood_drop if row else None
    yield figure("log-likelihood drop", shift.loglikelihood, drop, sign=-1.0)
    yield figure("same top token", shift.same_top, row.min_same_top if row else None)
    worst = max(text.kl for text in fidelity.compressed.by_text)
    yield Figure(task=FIDELITY, name="worst text's KL", value=worst, limit=row.max_text_kl if row else None)
