"""Makes measurements without a server: a model of one layer whose harm is a formula."""

from collections.abc import Mapping
from itertools import product

from harness.judge.prediction_shift import FIRST
from harness.records.predictions import TextPredictions
from harness.records.run import RunRecord, write_record
from harness.records.samples import Sample
from harness.sglang_plugin.policy import Choice, parse
from harness.study.folder import StudyFolder
from harness.study.plan import Measurement, StudyPlan, arm_name
from harness.study.records import Measured, Traffic, add_measured
from harness.study.search import Site, rules_of

TEXTS, TOKENS = 12, 20


def predictions(kl: float, *, texts: int = TEXTS) -> list[TextPredictions]:
    """Return predictions whose mean KL divergence is `kl`, text 0's twice that of the last, token 0's ten times."""
    found = []
    for text in range(texts):
        weight = 2 - text / (texts - 1)
        values = [weight * (10 if position == 0 else 1) for position in range(TOKENS)]
        found.append((text, values))
    mean = sum(sum(values) for _, values in found) / (texts * TOKENS)
    return [
        TextPredictions(
            text=f"text-{text}",
            kl=[kl * value / mean for value in values],
            baseline=[-2.0] * TOKENS,
            candidate=[-2.0 - kl] * TOKENS,
            same_top=[kl < 0.01 or position >= FIRST for position in range(TOKENS)],
        )
        for text, values in found
    ]


def measured(
    purpose: str,
    name: str,
    chosen: Mapping[Site, Choice | None],
    kl: float,
    *,
    cost: float = 0.5,
    ranks: int = 2,
    samples: tuple[Sample, ...] = (),
    texts: int = TEXTS,
) -> Measured:
    """Return one policy's measurements."""
    return Measured(
        purpose=purpose,
        name=name,
        ranks=ranks,
        rules=[rule.content() for rule in rules_of(chosen)],
        texts=predictions(kl, texts=texts),
        traffic=Traffic(compressed=int(1000 * cost), plain=0, ring=1000.0, sums=4, tokens=10, prefills=1),
        samples=list(samples),
        seconds=1.0,
    )


def sample(document: int, yes: float, no: float) -> Sample:
    """Return an answer to a question whose right answer is yes."""
    return Sample(
        task="boolq",
        filter="none",
        doc_id=document,
        row=document,
        doc_hash=str(document),
        prompt_hash=str(document),
        prompt_tokens=5,
        first_tokens=[1],
        target="yes",
        answer="yes" if yes > no else "no",
        right=yes > no,
        choices=["no", "yes"],
        logprobs=[no, yes],
    )


def write_study_folder(folder: StudyFolder, plan: StudyPlan, found: list[Measured]) -> None:
    """Write a study's files as a study does."""
    folder.path.mkdir(parents=True, exist_ok=True)
    write_record(folder.plan, plan)
    write_record(folder.run, RunRecord(started="now", seconds=1.0, errors=[], versions={"sglang": "0.5.23"}))
    for one in found:
        place = folder.path / arm_name(one.ranks)
        place.mkdir(exist_ok=True)
        add_measured(place, one)


# What each codec does where it alone is, of a model of so many layers.
LAYERS = 4
HARM = {"int8_token": 1.0, "int4_hadamard": 0.3, "int6_hadamard": 0.05, "int8_hadamard": 0.01}
COST = {"int8_token": 0.5, "int4_hadamard": 0.27, "int6_hadamard": 0.4, "int8_hadamard": 0.52}


def by_formula(wanted: Measurement) -> Measured:
    """Return what a server would have measured: each site does its own harm, and harms add up."""
    policy = parse({"rules": wanted.rules})
    kl = cost = 0.0
    for layer, site in product(range(LAYERS), ("attention", "ffn")):
        choice = policy.choice(site, layer)
        cost += COST.get(choice.codec, 0.6) if choice else 1.0
        if choice is not None:
            share = 0.1 if choice.rows else 1.0
            kl += share * 0.01 * HARM.get(choice.codec, 0.5) * (layer + 1) * (3 if site == "ffn" else 1)
    return Measured(
        purpose=wanted.purpose,
        name=wanted.name,
        ranks=wanted.ranks,
        rules=wanted.rules,
        texts=predictions(kl, texts=wanted.texts),
        traffic=Traffic(compressed=round(1000 * cost), plain=0, ring=2000.0 * LAYERS, sums=4, tokens=10, prefills=1),
        samples=[sample(number, -1.0 - kl, -2.0) for number in range(wanted.questions)],
        seconds=1.0,
    )
