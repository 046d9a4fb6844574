from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.sglang_plugin.policy import Choice, Policy
from harness.study.search import Option, choose, frontier, order_by_harm, rules_of

CHEAP, DEAR = Choice(codec="int4_hadamard"), Choice(codec="int8_hadamard")
SITES = [(site, layer) for layer in range(3) for site in ("attention", "ffn")]


def options(harms: list[float]) -> dict[tuple[str, int], list[Option]]:
    """Each site by the cheap codec with its own harm, or by the dear one with a tenth of it, or plain."""
    return {
        site: [
            Option(choice=CHEAP, harm=harm, cost=0.3),
            Option(choice=DEAR, harm=harm / 10, cost=0.5),
            Option(choice=None, harm=0.0, cost=1.0),
        ]
        for site, harm in zip(SITES, harms, strict=True)
    }


def test_the_most_harmful_site_comes_first() -> None:
    assert order_by_harm({("ffn", 0): 0.1, ("ffn", 2): 0.5, ("attention", 1): 0.3}) == [
        ("ffn", 2),
        ("attention", 1),
        ("ffn", 0),
    ]


def test_within_the_budget_nothing_is_paid_for() -> None:
    chosen = choose(options([0.01] * 6), 0.06)
    assert chosen is not None
    assert {option.choice for option in chosen.values()} == {CHEAP}


def test_the_one_bad_site_is_paid_for_and_no_other() -> None:
    chosen = choose(options([0.01, 0.01, 0.01, 0.5, 0.01, 0.01]), 0.11)
    assert chosen is not None
    assert [site for site, option in chosen.items() if option.choice != CHEAP] == [SITES[3]]


def test_a_budget_that_nothing_keeps_has_no_choice() -> None:
    harms = {SITES[0]: [Option(choice=CHEAP, harm=0.2, cost=0.3), Option(choice=DEAR, harm=0.1, cost=0.5)]}
    assert choose(harms, 0.05) is None


@given(st.lists(st.floats(0.001, 1), min_size=6, max_size=6), st.floats(0.001, 3))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_it_keeps_the_budget_at_little_more_than_the_cheapest_cost(harms: list[float], budget: float) -> None:
    offered = options(harms)
    chosen = choose(offered, budget)
    assert chosen is not None
    assert sum(option.harm for option in chosen.values()) <= budget
    best = min(
        sum(option.cost for option in picked)
        for picked in product(*offered.values())
        if sum(option.harm for option in picked) <= budget
    )
    # The greedy choice may pay once too much.
    assert sum(option.cost for option in chosen.values()) <= best + 0.7 + 1e-9


def test_rules_give_every_site_its_choice_back() -> None:
    chosen = {site: (CHEAP, DEAR, None)[number % 3] for number, site in enumerate(SITES)} | {("ffn", 2): CHEAP}
    policy = Policy(rules=rules_of(chosen))
    assert {site: policy.choice(*site) for site in SITES} == chosen
    assert policy.rules[0].site is None
    assert policy.rules[0].choice == CHEAP


def test_the_frontier_is_what_no_other_point_beats() -> None:
    points = [(0.5, 0.07), (0.5, 0.001), (0.3, 0.2), (0.31, 0.3), (1.0, 0.0), (0.6, 0.002)]
    assert frontier(points) == [2, 1, 4]


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)]])
def test_the_frontier_of_one_point_or_none(points: list[tuple[float, float]]) -> None:
    assert frontier(points) == list(range(len(points)))
