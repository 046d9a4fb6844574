"""What the drop's simple cells leave out: all gates at once, questions unlike each other, drifts, clusters, guessing.

Each cell is judged by the functions that judge a real run.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from harness.config.load import suite_names
from harness.judge.baseline import AGAIN_ALPHA, cannot_tell, differs_again
from harness.judge.outlook import RUNS, WHOLE_RUN, plan_designs, rates, simulate_run
from harness.judge.pairing import Pair, Pairing
from harness.plan.make import plan_on_paper
from harness.plan.order import asking_order
from harness.records.samples import Sample
from harness.stats import ALPHA
from harness.stats.clusters import design_effects
from harness.stats.planning import Outcomes
from harness.stats.sequential import Design, decide_tables, make_design
from harness.validation.drop_cells import stop
from harness.validation.other_cells import OtherCell
from harness.validation.truth import Truth

# Runs whose every question is drawn, at once: bounds the memory.
CHUNK = 250
# How many questions of BoolQ's validation split share a passage: {questions of a passage: passages}.
BOOLQ_PASSAGES = {1: 2692, 2: 197, 3: 27, 4: 13, 5: 7, 7: 1, 9: 1}
# With a margin: BoolQ's, questions that all come in pairs, and few large clusters.
CLUSTERS = ((BOOLQ_PASSAGES, 0.02), ({2: 657}, 0.03), ({4: 100}, 0.05))
# The larger class of BoolQ's validation split.
MAJORITY = 0.62
COIN, GUESS, STEADY, NPU_PASS, NPU_FAIL = (
    "coin-flipping arm",
    "baseline at chance",
    "baseline again",
    "NPU suite, harmless",
    "NPU suite, 2 points lost",
)


def simulate_tasks(runs: int, rng: np.random.Generator) -> Iterator[OtherCell]:
    """Simulate all cells.

    Args:
        runs: Runs a cell.
        rng: Random numbers.
    """
    yield from _suites(runs, rng)
    for early in (False, True):
        yield _two_tasks(runs, rng, early=early)
    for n, max_drop in ((200, 0.05), (1314, 0.03), (4584, 0.01)):
        yield _heterogeneous(n, max_drop, runs, rng)
    for (n, max_drop), shuffled, late in product(((1314, 0.03), (3270, 0.02)), (True, False), (True, False)):
        yield _drift(n, max_drop, runs, rng, shuffled=shuffled, late=late)
    for (sizes, max_drop), together in product(CLUSTERS, (0.5, 1.0)):
        yield from _clustered(sizes, max_drop, together, runs, rng)
    for n, max_drop in ((128, 0.10), (1314, 0.03), (3270, 0.02)):
        yield _guessing(n, max_drop, runs, rng)
        for accuracy in (MAJORITY, MAJORITY + max_drop, 0.75, 0.86):
            yield _coin(n, max_drop, accuracy, runs, rng)
    for noise, shift in ((0.02, 0.0), (0.05, 0.0), (0.05, 0.005), (0.05, 0.02)):
        yield _again(noise, shift, runs, rng)


def _suites(runs: int, rng: np.random.Generator) -> Iterator[OtherCell]:
    """The shipped suites on NPUs, as far as drops decide: what they are to find, and both at the pooled margin."""
    plans = [plan for plan in map(plan_on_paper, suite_names()) if plan.device == "npu"]
    # The bars are near what the suites can do, and a run costs next to nothing here.
    runs = max(runs, RUNS)
    for plan in plans:
        designs = plan_designs(plan)
        for kind, drop in ((NPU_PASS, 0.0), (NPU_FAIL, 0.02)):
            found = simulate_run(designs, 0.04, drop, runs=runs, rng=rng)[WHOLE_RUN]
            yield _cell(kind, f"{plan.suite}, 4% of the questions turn", runs, found)
        if plan.pooled is not None:
            margin = plan.pooled.max_drop
            for discordance in (0.02, 0.08):
                found = simulate_run(designs, discordance, margin, runs=runs, rng=rng)[WHOLE_RUN]
                what = f"{plan.suite}, every task loses {margin:.0%}, {discordance:.0%} of the questions turn"
                yield _cell("pooled test", what, runs, found, false_pass=True, false_fail=True)


def _two_tasks(runs: int, rng: np.random.Generator, *, early: bool) -> OtherCell:
    """Two independent tasks, each with its drop exactly at the margin; the run FAILs if either does."""
    n, max_drop = 200, 0.05
    looks = None if early else (n,)
    design = make_design(n, max_drop, fail_alpha=ALPHA / 2, looks=looks)
    truth = Truth(n=n, max_drop=max_drop, accuracy=0.5, discordance=max_drop + 0.05, true_drop=max_drop, noise=0.0)
    steps = np.diff(design.looks, prepend=0)
    shares = np.tile(truth.table(), (len(steps), 1))
    both = np.stack([_stopped(design, steps, shares, runs, rng) for _ in range(2)])
    verdicts = np.where((both < 0).any(axis=0), -1, (both > 0).all(axis=0).astype(np.int64))
    what = (
        f"2 tasks of {n} questions, {'early stop' if early else 'to the end'}, both at the margin of {max_drop:.0%}"
    )
    return _cell("two tasks", what, runs, rates(verdicts), false_pass=True, false_fail=True)


def _stopped(
    design: Design, steps: NDArray[np.int64], shares: NDArray[np.float64], runs: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return each run's verdict where lost and won have their own shares between any two looks, shape (looks, 2)."""
    drawn = np.stack(
        [
            rng.multinomial(step, (lost, won, 1 - lost - won), runs)
            for step, (lost, won) in zip(steps, shares, strict=True)
        ]
    )
    lost, won = drawn[:, :, 0].cumsum(axis=0), drawn[:, :, 1].cumsum(axis=0)
    return stop(design, lost, won)[0]


def _heterogeneous(n: int, max_drop: float, runs: int, rng: np.random.Generator) -> OtherCell:
    """A drop at the margin on average, of questions of which most never turn and some almost always do."""
    design = make_design(n, max_drop, looks=(n,))
    parts = {0.7: (0.0, 0.0), 0.2: (0.1, 0.1), 0.1: (0.0, 0.0)}
    hard = max_drop / 0.1
    lost, won = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    for share, (p_lost, p_won) in parts.items():
        p = (p_lost, p_won) if share != 0.1 else (hard, 0.0)  # noqa: PLR2004 - the part that carries the drop
        drawn = rng.multinomial(round(n * share), (*p, 1 - sum(p)), runs)
        lost, won = lost + drawn[:, 0], won + drawn[:, 1]
    verdicts = decide_tables(design, n, lost, won)
    what = f"{n} questions, a tenth of them loses {hard:.0%} and nothing else, on average {max_drop:.0%}, the margin"
    return _cell("unlike questions", what, runs, rates(verdicts), false_pass=True, false_fail=True)


def _drift(n: int, max_drop: float, runs: int, rng: np.random.Generator, *, shuffled: bool, late: bool) -> OtherCell:
    """All of a drop that is at the margin on average lies in one half of the data; the task may end early."""
    design = make_design(n, max_drop)
    order = np.array(asking_order(n)) if shuffled else np.arange(n)
    harmed = (order >= n // 2) == late
    steps = np.diff(design.looks, prepend=0)
    share = np.array([harmed[start:end].mean() for start, end in pairwise((0, *design.looks))])
    # Beside the drop itself 2 % turn either way.
    lost = 0.01 + share * max_drop * n / harmed.sum()
    verdicts = _stopped(design, steps, np.stack([lost, np.full_like(lost, 0.01)], axis=1), runs, rng)
    where, how = "last" if late else "first", "in the order of asking" if shuffled else "in the data's order"
    kind = "drift, shuffled" if shuffled else "drift, not shuffled (for comparison)"
    what = f"{n} questions, early stop, a drop at the margin of {max_drop:.0%}, all in the {where} half, {how}"
    return _cell(kind, what, runs, rates(verdicts), false_pass=shuffled, false_fail=shuffled)


def _clustered(
    sizes: dict[int, int], max_drop: float, together: float, runs: int, rng: np.random.Generator
) -> Iterator[OtherCell]:
    """A drop at the margin where a cluster's questions turn together, counted by cluster and, to compare, alone."""
    of_cluster = np.repeat(list(sizes), list(sizes.values()))
    numbers = np.repeat(np.arange(len(of_cluster)), of_cluster)
    n = len(numbers)
    design = make_design(n, max_drop, looks=(n,))
    shares = (max_drop + 0.02, 0.02, 1 - max_drop - 0.04)
    counted, alone = [], []
    for start in range(0, runs, CHUNK):
        size = min(CHUNK, runs - start)
        shape = (size, len(of_cluster))
        alike = rng.choice((-1, 1, 0), p=shares, size=shape)[:, numbers]
        apart = rng.choice((-1, 1, 0), p=shares, size=(size, n))
        # A cluster either turns as one, or not at all as one.
        turned = np.where((rng.random(shape) < together)[:, numbers], alike, apart)
        lost, won = (turned < 0).sum(axis=1), (turned > 0).sum(axis=1)
        effects = design_effects(turned.astype(np.float64), numbers)
        counted.append(decide_tables(design, n, lost, won, effects))
        alone.append(decide_tables(design, n, lost, won))
    what = (
        f"{n} questions in {len(of_cluster)} clusters of up to {of_cluster.max()}, {together:.0%} of which turn as "
        f"one, true drop at the margin of {max_drop:.0%}"
    )
    found = rates(np.concatenate(counted))
    yield _cell("clusters", what, runs, found, false_pass=True, false_fail=True)
    yield _cell("clusters, not counted (for comparison)", what, runs, rates(np.concatenate(alone)))


def _coin(n: int, max_drop: float, accuracy: float, runs: int, rng: np.random.Generator) -> OtherCell:
    """A compressed arm that answers a two-choice task by a coin, whatever the baseline can do."""
    design = make_design(n, max_drop, looks=(n,))
    shares = (accuracy / 2, accuracy / 2, (1 - accuracy) / 2, (1 - accuracy) / 2)
    both, lost, won, _ = rng.multinomial(n, shares, runs).T
    verdicts = np.where(_may_judge(both + lost, n, max_drop), decide_tables(design, n, lost, won), 0)
    what = f"{n} questions, margin {max_drop:.0%}, larger class {MAJORITY:.0%}, baseline {accuracy:.0%} right"
    return _cell(COIN, what, runs, rates(verdicts))


def _guessing(n: int, max_drop: float, runs: int, rng: np.random.Generator) -> OtherCell:
    """A baseline that is above chance by the margin and no more: PASS stands for "may judge"."""
    right = rng.binomial(n, MAJORITY + max_drop, runs)
    what = f"{n} questions, margin {max_drop:.0%}, baseline exactly that much above a larger class of {MAJORITY:.0%}"
    found = rates(_may_judge(right, n, max_drop).astype(np.int64))
    return _cell(GUESS, what, runs, found, false_pass=True)


def _may_judge(right: NDArray[np.int64], n: int, max_drop: float) -> NDArray[np.bool_]:
    """Return for each baseline whether it is a measure."""
    numbers, which = np.unique(right, return_inverse=True)
    may = [cannot_tell(k, n, chance=MAJORITY, max_drop=max_drop, constant="yes") is None for k in numbers.tolist()]
    return np.array(may)[which]


def _again(noise: float, shift: float, runs: int, rng: np.random.Generator) -> OtherCell:
    """A baseline started twice, whose second start shifts the accuracy; FAIL stands for "no measure"."""
    n = 3270
    drawn = rng.multinomial(n, ((noise + shift) / 2, (noise - shift) / 2, 1 - noise), runs)[:, :2]
    pairs = {(lost, won): _unsteady(lost, won) for lost, won in {tuple(row) for row in drawn.tolist()}}
    share = float(np.mean([pairs[lost, won] for lost, won in drawn.tolist()]))
    found = Outcomes(passes=1 - share, fails=share, inconclusive=0.0)
    what = f"{n} questions, {noise:.0%} turn by themselves, the start costs {shift * 100:g} points"
    return _cell(STEADY, what, runs, found, false_fail=shift == 0)


def _unsteady(lost: int, won: int) -> bool:
    pairs = [*[_pair(right=True)] * lost, *[_pair(right=False)] * won]
    return bool(differs_again(Pairing(pairs=tuple(pairs), failed=(), faults=()), comparisons=1))


def _pair(*, right: bool) -> Pair:
    usual = {"task": "task", "filter": "none", "doc_id": 0, "row": 0, "doc_hash": "", "prompt_hash": "", "target": ""}
    first = Sample.model_validate({**usual, "prompt_tokens": 1, "first_tokens": [], "answer": "", "right": right})
    return Pair(baseline=first, compressed=first.model_copy(update={"right": not right}))


def _cell(
    kind: str, what: str, runs: int, found: Outcomes, *, false_pass: bool = False, false_fail: bool = False
) -> OtherCell:
    return OtherCell(
        kind=kind,
        what=what,
        runs=runs,
        passes=found.passes,
        fails=found.fails,
        inconclusive=found.inconclusive,
        false_pass=false_pass,
        false_fail=false_fail,
    )


def stated_errors() -> dict[str, float]:
    """Return the error that each kind of cell states, where it is not ALPHA."""
    return {STEADY: AGAIN_ALPHA}


def of_kind(cells: Sequence[OtherCell], *kinds: str) -> list[OtherCell]:
    """Return the cells of some kinds."""
    return [cell for cell in cells if cell.kind in kinds]
