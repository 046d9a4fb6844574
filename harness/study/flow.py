"""What a study measures, in order: the noise, every candidate, every site alone, and mixes by site."""

from collections import Counter
from collections.abc import Mapping

from harness.run.display import Display
from harness.sglang_plugin.policy import PLAIN, Choice
from harness.study.figures import kl_of
from harness.study.measure import Measurer
from harness.study.measurements import (
    SITE_CODECS,
    in_all_sums,
    measurement,
    parts_of_mixes,
    rows_alone,
    sites_alone,
)
from harness.study.plan import MIX_CODECS, PR_CODEC, StudyPlan, algorithm_for
from harness.study.records import Measured
from harness.study.search import Option, Site, choose, order_by_harm, rules_of

# Sites that are left plain in turn, the most harmful first: how fast the harm of the PR's codec goes.
SPARED = (1, 2, 3, 5, 8, 12)
# Budgets of the mixes that draw the frontier, as shares of the way from the best codec's harm to the cheapest's.
FRONTIER = (0.2, 0.45, 0.7)
# How often a mix that does more harm than was predicted is looked for again, within a smaller budget.
TRIES = 4


def study_ranks(plan: StudyPlan, measurer: Measurer, ranks: int, display: Display) -> None:
    """Measure what is to be measured at one number of ranks."""
    for wanted in in_all_sums(plan, ranks):
        say_measured(display, measurer.measure(wanted))
    if plan.sites and ranks == plan.ranks[0]:
        study_sites(plan, measurer, ranks, display)


def study_sites(plan: StudyPlan, measurer: Measurer, ranks: int, display: Display) -> None:
    """Find where the harm comes from, and the mix by site that does little of it for few bytes."""
    harm = {
        codec: {
            site: kl_of(measurer.measure(wanted))
            for site, wanted in sites_alone(plan, ranks, codec, measurer.layers).items()
        }
        for codec in SITE_CODECS
    }
    for codec, sites in harm.items():
        worst = order_by_harm(sites)[0]
        display.say(
            f"{codec}: of {len(sites)} sites, layer {worst[1]} {worst[0]} does most: KL {sites[worst]:.4f} alone"
        )
    pr = Choice(codec=PR_CODEC, algorithm=algorithm_for(ranks))
    order = order_by_harm(harm[PR_CODEC])
    for count in (count for count in (0, *SPARED) if count < len(order)):
        rules = rules_of({site: None if site in order[:count] else pr for site in order})
        name = f"{PR_CODEC}, {count} sites plain"
        measurer.measure(measurement(plan, ranks, "spared", name, rules, texts=plan.site_texts))
    for wanted in rows_alone(plan, ranks):
        measurer.measure(wanted)
    mixes(plan, measurer, ranks, harm[MIX_CODECS[0]], display)


def mixes(plan: StudyPlan, measurer: Measurer, ranks: int, alone: Mapping[Site, float], display: Display) -> None:
    """Measure mixes of codecs by site: along the frontier, and the one that is to keep the budget.

    A site's harm under another codec than the one it was measured with is taken to be to that as the codecs' harms in
    all sites are to each other.
    """
    algorithm = algorithm_for(ranks)
    uniform = {codec: measurer.measure(wanted) for codec, wanted in parts_of_mixes(plan, ranks).items()}
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
        _mix(plan, measurer, ranks, options, least * (most / least) ** share, display=display)
    budget = plan.budget_kl
    for _ in range(TRIES):
        measured = _mix(plan, measurer, ranks, options, budget, display=display)
        if measured is None or (found := kl_of(measured, bound="high")) <= plan.budget_kl:
            return
        budget *= plan.budget_kl / found


def _mix(
    plan: StudyPlan,
    measurer: Measurer,
    ranks: int,
    options: Mapping[Site, list[Option]],
    budget: float,
    *,
    display: Display,
) -> Measured | None:
    chosen = choose(options, budget)
    if chosen is None:
        return None
    choices = {site: option.choice for site, option in chosen.items()}
    codecs = Counter(choice.codec if choice else PLAIN for choice in choices.values())
    name = ", ".join(f"{count} {codec}" for codec, count in sorted(codecs.items()))
    wanted = measurement(plan, ranks, "mix", f"mix: {name}", rules_of(choices), scored=True)
    measured = measurer.measure(wanted)
    say_measured(display, measured)
    return measured


def say_measured(display: Display, measured: Measured) -> None:
    """Say what was found of a policy."""
    how = f"{measured.seconds:.0f} s{', dropped early' if measured.dropped else ''}"
    display.say(
        f"{measured.ranks} ranks, {measured.name}: KL {kl_of(measured):.3g} at {measured.traffic.over_ring:.2f} of "
        f"the ring's bytes ({how})"
    )
