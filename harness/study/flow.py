"""What a study measures, in order: the noise, every candidate, every site alone, and mixes by site."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import inf

from harness.judge.predictions import FIRST
from harness.run.display import Display
from harness.sglang_plugin.policy import CREST, PLAIN, POSITION, Choice, Rows, Rule
from harness.study.figures import kl_of
from harness.study.measure import UNCOMPRESSED_RULES, Measurer
from harness.study.plan import MIX_CODECS, PR_CODEC, Candidate, StudyPlan, algorithm_for
from harness.study.records import Measured
from harness.study.search import Option, Site, choose, order_by_harm, rules_of

# Sites that are left plain in turn, the most harmful first: how fast the harm of the PR's codec goes.
SPARED = (1, 2, 3, 5, 8, 12)
# The rows that are compressed alone, by the PR's codec: by percentiles of crest factor, and by position.
ROWS = (
    *(Rows(by=CREST, low=low, high=high) for low, high in ((0, 84), (84, 96), (96, 99), (99, 100))),
    *(Rows(by=POSITION, low=low, high=high) for low, high in ((0, 1), (1, FIRST), (FIRST, inf))),
)
# A candidate is clearly worse than the budget where its harm is surely so many times as large.
CLEARLY = 25.0
# Budgets of the mixes that draw the frontier, as shares of the way from the best codec's harm to the cheapest's.
FRONTIER = (0.2, 0.45, 0.7)
# How often a mix that does more harm than was predicted is looked for again, within a smaller budget.
TRIES = 4


def study_ranks(plan: StudyPlan, measurer: Measurer, ranks: int, display: Display) -> None:
    """Measure what is to be measured at one number of ranks."""
    noise = measurer.measure("noise", "plain, again", UNCOMPRESSED_RULES, scored=True)
    _say(display, noise)
    if plan.questions:
        # What answers change by themselves: the predictions have that in `noise`.
        measurer.measure("again", "plain, a second time", UNCOMPRESSED_RULES, texts=plan.site_texts, scored=True)
    for candidate in plan.candidates:
        if candidate.ranks == ranks:
            # What mixes are made of, and what everything is compared with, is measured on all texts.
            needed = candidate.codec in (PR_CODEC, *MIX_CODECS)
            limit = None if needed else CLEARLY * plan.budget_kl
            _say(display, _uniform(measurer, candidate, stop_above=limit))
    if plan.sites and ranks == plan.ranks[0]:
        study_sites(plan, measurer, ranks, display)


def study_sites(plan: StudyPlan, measurer: Measurer, ranks: int, display: Display) -> None:
    """Find where the harm comes from, and the mix by site that does little of it for few bytes."""
    algorithm = algorithm_for(ranks)
    harm = {
        codec: sites_alone(plan, measurer, Choice(codec=codec, algorithm=algorithm))
        for codec in (PR_CODEC, MIX_CODECS[0])
    }
    for codec, sites in harm.items():
        worst = order_by_harm(sites)[0]
        display.say(
            f"{codec}: of {len(sites)} sites, layer {worst[1]} {worst[0]} does most: KL {sites[worst]:.4f} alone"
        )
    pr = Choice(codec=PR_CODEC, algorithm=algorithm)
    order = order_by_harm(harm[PR_CODEC])
    for count in (count for count in (0, *SPARED) if count < len(order)):
        rules = rules_of({site: None if site in order[:count] else pr for site in order})
        measurer.measure("spared", f"{PR_CODEC}, {count} sites plain", rules, texts=plan.site_texts)
    for rows in ROWS:
        rule = Rule(choice=replace(pr, rows=rows))
        measurer.measure("rows", f"{PR_CODEC} in rows of {rows}", (rule,), texts=plan.site_texts)
    mixes(plan, measurer, ranks, harm[MIX_CODECS[0]], display)


def sites_alone(plan: StudyPlan, measurer: Measurer, choice: Choice) -> dict[Site, float]:
    """Return the harm of each site when it alone is compressed, in nats a token."""
    return {
        (site, layer): kl_of(
            measurer.measure(
                "site",
                f"{choice.codec} in {site} {layer}",
                (*UNCOMPRESSED_RULES, Rule(choice=choice, site=site, layers=(layer,))),
                texts=plan.site_texts,
            )
        )
        for layer in range(measurer.layers)
        for site in ("attention", "ffn")
    }


def mixes(plan: StudyPlan, measurer: Measurer, ranks: int, alone: Mapping[Site, float], display: Display) -> None:
    """Measure mixes of codecs by site: along the frontier, and the one that is to keep the budget.

    A site's harm under another codec than the one it was measured with is taken to be to that as the codecs' harms in
    all sites are to each other.
    """
    algorithm = algorithm_for(ranks)
    uniform = {
        codec: _uniform(measurer, Candidate(codec=codec, algorithm=algorithm, ranks=ranks)) for codec in MIX_CODECS
    }
    total = sum(alone.values())
    options = {
        site: [
            Option(
                choice=Choice(codec=codec, algorithm=algorithm),
                harm=alone[site] / total * kl_of(measured),
                cost=measured.traffic.over_ring,
            )
            for codec, measured in uniform.items()
        ]
        + [Option(choice=None, harm=0.0, cost=1.0)]
        for site in alone
    }
    most, least = kl_of(uniform[MIX_CODECS[0]]), kl_of(uniform[MIX_CODECS[-1]])
    for share in FRONTIER:
        _mix(measurer, options, least * (most / least) ** share, display)
    budget = plan.budget_kl
    for _ in range(TRIES):
        measured = _mix(measurer, options, budget, display)
        if measured is None or (found := kl_of(measured, bound="high")) <= plan.budget_kl:
            return
        budget *= plan.budget_kl / found


def _mix(
    measurer: Measurer, options: Mapping[Site, list[Option]], budget: float, display: Display
) -> Measured | None:
    chosen = choose(options, budget)
    if chosen is None:
        return None
    choices = {site: option.choice for site, option in chosen.items()}
    codecs = Counter(choice.codec if choice else PLAIN for choice in choices.values())
    name = ", ".join(f"{count} {codec}" for codec, count in sorted(codecs.items()))
    measured = measurer.measure("mix", f"mix: {name}", rules_of(choices), scored=True)
    _say(display, measured)
    return measured


def _uniform(measurer: Measurer, candidate: Candidate, *, stop_above: float | None = None) -> Measured:
    name = f"{candidate.codec} {candidate.algorithm}"
    return measurer.measure("candidate", name, (Rule(choice=candidate.choice),), scored=True, stop_above=stop_above)


def _say(display: Display, measured: Measured) -> None:
    how = f"{measured.seconds:.0f} s{', dropped early' if measured.dropped else ''}"
    display.say(
        f"{measured.ranks} ranks, {measured.name}: KL {kl_of(measured):.3g} at {measured.traffic.over_ring:.2f} of "
        f"the ring's bytes ({how})"
    )
