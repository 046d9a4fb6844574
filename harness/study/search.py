"""Which codec each site gets: the fewest bytes within a budget of harm. Pure functions.

What the sites do to the predictions nearly adds up (measured on SmolLM2-135M: the sum over all sites alone is within
5 % of all together), so that a site's harm alone tells what it is worth. A mix that this finds is measured itself.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.sglang_plugin.policy import Choice, Rule

Site = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to treat a site.

    Attributes:
        choice: The codec and algorithm; None: plain.
        harm: What it adds to the mean KL divergence, in nats.
        cost: Bytes over those of a ring all-reduce.
    """

    choice: Choice | None
    harm: float
    cost: float


def order_by_harm(harm: Mapping[Site, float]) -> list[Site]:
    """Return the sites, the most harmful first."""
    return sorted(harm, key=lambda site: (-harm[site], site))


def choose(options: Mapping[Site, Sequence[Option]], budget: float) -> dict[Site, Option] | None:
    """Return an option for each site, of few bytes, whose harms add up to the budget at most.

    Greedy: all sites begin with their cheapest option; as long as the sum is above the budget, the site changes whose
    change saves the most harm for a byte. Of sites of one cost, as all sums of a model are, this is the optimum but
    for the last change.

    Args:
        options: What each site may be; in any order.
        budget: Nats.

    Returns:
        None where no choice is within the budget.
    """
    chosen = {site: min(of_site, key=lambda option: option.cost) for site, of_site in options.items()}
    while sum(option.harm for option in chosen.values()) > budget:
        changes = [
            ((chosen[site].harm - option.harm) / (option.cost - chosen[site].cost), site, option)
            for site, of_site in options.items()
            for option in of_site
            if option.cost > chosen[site].cost and option.harm < chosen[site].harm
        ]
        if not changes:
            return None
        _, site, option = max(changes, key=lambda change: change[0])
        chosen[site] = option
    return chosen


def rules_of(chosen: Mapping[Site, Choice | None]) -> tuple[Rule, ...]:
    """Return the rules that give each site its choice: the commonest one for all, then the exceptions."""
    groups: dict[Choice | None, list[Site]] = defaultdict(list)
    for site, choice in sorted(chosen.items()):
        groups[choice].append(site)
    commonest = max(groups, key=lambda choice: len(groups[choice]))
    rules = [Rule(choice=commonest)]
    for choice, sites in groups.items():
        if choice == commonest:
            continue
        layers: dict[str, list[int]] = defaultdict(list)
        for name, layer in sites:
            layers[name].append(layer)
        rules += [Rule(choice=choice, site=name, layers=tuple(numbers)) for name, numbers in layers.items()]
    return tuple(rules)


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which points no other beats in both coordinates (the smaller, the better), by the first coordinate."""
    order = sorted(range(len(points)), key=lambda index: points[index])
    kept: list[int] = []
    for index in order:
        if not kept or points[index][1] < points[kept[-1]][1]:
            kept.append(index)
    return kept
