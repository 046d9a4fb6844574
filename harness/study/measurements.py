"""What a study measures whatever it finds: the noise, every candidate, every site alone, rows. Pure data."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import inf

from harness.judge.prediction_shift import FIRST
from harness.sglang_plugin.policy import CREST, POSITION, Choice, Rows, Rule
from harness.study.plan import MIX_CODECS, PR_CODEC, Candidate, Measurement, StudyPlan, algorithm_for
from harness.study.search import Site

UNCOMPRESSED_RULES = (Rule(choice=None),)
# The codecs by which each site is compressed alone.
SITE_CODECS = (PR_CODEC, MIX_CODECS[0])
# The rows that are compressed alone, by the PR's codec: by percentiles of crest factor, and by position.
ROWS = (
    *(Rows(by=CREST, low=low, high=high) for low, high in ((0, 84), (84, 96), (96, 99), (99, 100))),
    *(Rows(by=POSITION, low=low, high=high) for low, high in ((0, 1), (1, FIRST), (FIRST, inf))),
)
# A candidate is clearly worse than the budget where its harm is surely so many times as large.
CLEARLY = 25.0
# Seen on two cores with the small model (2026-11-26): a start, a text, a question. Others differ; the order stays.
START_S, TEXT_S, QUESTION_S = 45.0, 0.25, 0.35


def independent(plan: StudyPlan, layers: int) -> list[Measurement]:
    """Return everything that a study measures whatever it finds, each once, in the study's order.

    Args:
        plan: The study.
        layers: The model's decoder layers; of no account without sites.
    """
    found: dict[tuple[int, str], Measurement] = {}
    for ranks in plan.ranks:
        wanted = in_all_sums(plan, ranks)
        if plan.sites and ranks == plan.ranks[0]:
            wanted += [one for codec in SITE_CODECS for one in sites_alone(plan, ranks, codec, layers).values()]
            wanted += [*rows_alone(plan, ranks), *parts_of_mixes(plan, ranks).values()]
        for one in wanted:
            found.setdefault((ranks, one.key), one)
    return list(found.values())


def in_all_sums(plan: StudyPlan, ranks: int) -> list[Measurement]:
    """Return what is measured of all sums alike: plain ones again, and the candidates."""
    found = [measurement(plan, ranks, "noise", "plain, again", UNCOMPRESSED_RULES, scored=True)]
    if plan.questions:
        # What answers change by themselves: the predictions have that in `noise`.
        texts = plan.site_texts
        found.append(
            measurement(plan, ranks, "again", "plain, a second time", UNCOMPRESSED_RULES, texts=texts, scored=True)
        )
    for candidate in plan.candidates:
        if candidate.ranks == ranks:
            # What mixes are made of, and what everything is compared with, is measured on all texts.
            needed = candidate.codec in (PR_CODEC, *MIX_CODECS)
            found.append(_uniform(plan, candidate, stop_above=None if needed else CLEARLY * plan.budget_kl))
    return found


def sites_alone(plan: StudyPlan, ranks: int, codec: str, layers: int) -> dict[Site, Measurement]:
    """Return each site with what is measured of it: a codec there and nowhere else."""
    choice = Choice(codec=codec, algorithm=algorithm_for(ranks))
    return {
        (site, layer): measurement(
            plan,
            ranks,
            "site",
            f"{codec} in {site} {layer}",
            (*UNCOMPRESSED_RULES, Rule(choice=choice, site=site, layers=(layer,))),
            texts=plan.site_texts,
        )
        for layer in range(layers)
        for site in ("attention", "ffn")
    }


def rows_alone(plan: StudyPlan, ranks: int) -> list[Measurement]:
    """Return the PR's codec in some rows of every sum."""
    choice = Choice(codec=PR_CODEC, algorithm=algorithm_for(ranks))
    return [
        measurement(
            plan,
            ranks,
            "rows",
            f"{PR_CODEC} in rows of {rows}",
            (Rule(choice=replace(choice, rows=rows)),),
            texts=plan.site_texts,
        )
        for rows in ROWS
    ]


def parts_of_mixes(plan: StudyPlan, ranks: int) -> dict[str, Measurement]:
    """Return what mixes are made of, each codec in all sums."""
    algorithm = algorithm_for(ranks)
    return {
        codec: _uniform(plan, Candidate(codec=codec, algorithm=algorithm, ranks=ranks), stop_above=None)
        for codec in MIX_CODECS
    }


def measurement(
    plan: StudyPlan,
    ranks: int,
    purpose: str,
    name: str,
    rules: Sequence[Rule],
    *,
    texts: int | None = None,
    scored: bool = False,
    stop_above: float | None = None,
) -> Measurement:
    """Return one measurement of a study.

    Args:
        plan: The study.
        ranks: Virtual ranks.
        purpose: As `Measurement` has it, and the following too.
        name: Of the policy.
        rules: Of the policy.
        texts: On how many texts; None for all.
        scored: Whether the policy answers the scored task too.
        stop_above: Nats a token.
    """
    return Measurement(
        purpose=purpose,
        name=name,
        ranks=ranks,
        rules=[rule.content() for rule in rules],
        texts=texts or plan.all_texts,
        questions=plan.questions if scored else 0,
        stop_above=stop_above,
    )


def seconds_of(wanted: Measurement) -> float:
    """Return about how long a measurement takes on two cores with the small model, in seconds."""
    return wanted.texts * TEXT_S + wanted.questions * QUESTION_S


def cut(wanted: Sequence[Measurement], parts: int) -> list[list[Measurement]]:
    """Return measurements in so many parts of about equal time, or in fewer where there is not enough.

    Each part has what follows each other: every number of ranks takes a server of its own, and so few parts need two.
    """
    shares: list[list[Measurement]] = [[] for _ in range(parts)]
    ends = list(accumulate(seconds_of(one) for one in wanted))
    for one, end in zip(wanted, ends, strict=True):
        middle = end - seconds_of(one) / 2
        shares[int(middle / ends[-1] * parts)].append(one)
    return [share for share in shares if share]


def _uniform(plan: StudyPlan, candidate: Candidate, *, stop_above: float | None) -> Measurement:
    name, rules = f"{candidate.codec} {candidate.algorithm}", (Rule(choice=candidate.choice),)
    return measurement(plan, candidate.ranks, "candidate", name, rules, scored=True, stop_above=stop_above)
