"""The other verdicts, by the rules that judge a real run: several tasks at once, floors, flips beyond the noise."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.config.thresholds import Threshold
from harness.judge.drop import DropToTest, check_drops
from harness.judge.verdict import TaskNumbers, Verdict, judge_task
from harness.stats import ALPHA, PairedCounts
from harness.stats.flips import excess_of
from harness.stats.sequential import Design, decide, make_design
from harness.validation.truth import Truth

Of = TypeVar("Of", bound=Hashable)
# At the margin in both tasks: each is one false FAIL away from failing the run.
PAIRS = ((128, 0.10), (200, 0.05))
FLOORS = ((128, 0.50), (200, 0.85), (1319, 0.85))
# True accuracy less the floor.
ABOVE = (-0.05, 0.0, 0.02, 0.05)
FLIP_SIZES = (128, 200, 1319)
FLIP_NOISES = (0.0, 0.02, 0.05)


@dataclass(frozen=True, kw_only=True)
class OtherCell:
    """What a cell came to.

    Attributes:
        kind: Which rule.
        what: The cell in words.
        runs: Simulated runs.
        passes: Share of PASS.
        fails: Share of FAIL.
        inconclusive: Share of INCONCLUSIVE.
        false_pass: Whether a PASS is an error here whose rate the rule states.
        false_fail: Whether a FAIL is.
    """

    kind: str
    what: str
    runs: int
    passes: float
    fails: float
    inconclusive: float
    false_pass: bool = False
    false_fail: bool = False


def simulate_others(runs: int, rng: np.random.Generator) -> Iterator[OtherCell]:
    """Simulate all cells.

    Args:
        runs: Runs a cell.
        rng: Random numbers.
    """
    for (n, max_drop), early in product(PAIRS, (False, True)):
        yield _two_tasks(n, max_drop, runs, rng, early=early)
    for (n, floor), above, rule in product(FLOORS, ABOVE, ("point", "confident")):
        yield _floor(n, floor, above, runs, rng, rule=rule)
    for n, noise, excess in product(FLIP_SIZES, FLIP_NOISES, (0.0, 0.05)):
        yield _flips(n, noise, excess, runs, rng)


def _two_tasks(n: int, max_drop: float, runs: int, rng: np.random.Generator, *, early: bool) -> OtherCell:
    """Two independent tasks, each with its drop exactly at the margin; the run FAILs if either does."""
    truth = Truth(n=n, max_drop=max_drop, accuracy=0.5, discordance=max_drop + 0.05, true_drop=max_drop, noise=0.0)
    design = make_design(n, max_drop, fail_alpha=ALPHA / 2) if early else None
    tables = [_tables(truth, design.looks if design else (n,), runs, rng) for _ in range(2)]
    where = "questions, early stop" if early else "questions, to the end"
    rates = _rates(zip(*tables, strict=True), lambda pair: _of_two(pair, max_drop, design))
    what = f"2 tasks of {n} {where}, both at the margin of {max_drop:.0%}"
    return OtherCell(kind="two tasks", what=what, runs=runs, false_pass=True, false_fail=True, **rates)


def _of_two(pair: tuple[tuple[PairedCounts, ...], ...], max_drop: float, design: Design | None) -> Verdict:
    """Judge both tasks' tables, each at the look at which it stops."""
    stopped = [next((one for one in task if design and decide(design, one)), task[-1]) for task in pair]
    drops = check_drops(
        {
            str(index): DropToTest(counts=counts, max_drop=max_drop, design=design)
            for index, counts in enumerate(stopped)
        }
    ).values()
    if any(drop.fails for drop in drops):
        return Verdict.FAIL
    return Verdict.PASS if all(drop.passes for drop in drops) else Verdict.INCONCLUSIVE


def _tables(
    truth: Truth, looks: tuple[int, ...], runs: int, rng: np.random.Generator
) -> list[tuple[PairedCounts, ...]]:
    lost, won = truth.table()
    steps = np.diff(looks, prepend=0)
    drawn = np.stack([rng.multinomial(step, (lost, won, 1 - lost - won), runs) for step in steps]).cumsum(axis=0)
    return [
        tuple(
            PairedCounts(both_right=rest, baseline_only=lost, compressed_only=won, both_wrong=0)
            for lost, won, rest in run
        )
        for run in drawn.transpose(1, 0, 2).tolist()
    ]


def _floor(n: int, floor: float, above: float, runs: int, rng: np.random.Generator, *, rule: str) -> OtherCell:
    threshold = Threshold.model_validate(
        {"metric": "acc,none", "floor": floor, "floor_rule": rule, "source": "simulated"}
    )

    def judge(right: int) -> Verdict:
        counts = PairedCounts(both_right=right, baseline_only=0, compressed_only=0, both_wrong=n - right)
        return judge_task(TaskNumbers(name="task", counts=counts), threshold).verdict

    rates = _rates(rng.binomial(n, floor + above, runs).tolist(), judge)
    # The point rule states no error: at the floor itself it is a coin's.
    confident = rule == "confident"
    return OtherCell(
        kind=f"floor, {rule} rule",
        what=f"{n} questions, floor {floor:g}, true accuracy {floor + above:g}",
        runs=runs,
        false_pass=confident and above <= 0,
        false_fail=confident and above >= 0,
        **rates,
    )


def _flips(n: int, noise: float, discordance: float, runs: int, rng: np.random.Generator) -> OtherCell:
    """Flips beyond those of a baseline that runs twice; accepted is exactly what is true."""
    truth = Truth(n=n, max_drop=0.05, accuracy=0.7, discordance=discordance, true_drop=0.0, noise=noise)
    shares = truth.runs_of_three()
    flipped = np.zeros((2, 2))
    for one, again, other in product((0, 1), repeat=3):
        flipped[int(one != other), int(one != again)] += shares[one, again, other]
    accepted = max(float(flipped[1, 0] - flipped[0, 1]), 0.0)
    # A threshold needs a margin of the drop beside; no drop is tested here.
    threshold = Threshold(metric="acc,none", max_drop=1.0, max_flips=accepted, source="simulated")

    def judge(table: tuple[int, ...]) -> Verdict:
        neither, again, now, both = table
        counts = PairedCounts(both_right=both, baseline_only=again, compressed_only=now, both_wrong=neither)
        numbers = TaskNumbers(name="task", counts=counts, flips=excess_of(counts, accepted=accepted))
        return judge_task(numbers, threshold).verdict

    drawn: NDArray[np.int64] = rng.multinomial(n, flipped.ravel(), runs)
    rates = _rates(map(tuple, drawn.tolist()), judge)
    what = f"{n} questions, {noise:.0%} flip by themselves, true and accepted excess {accepted:.1%}"
    return OtherCell(kind="flips", what=what, runs=runs, false_pass=True, false_fail=True, **rates)


def _rates(tables: Iterable[Of], judge: Callable[[Of], Verdict]) -> dict[str, float]:
    """Judge each table, the same one only once."""
    times = Counter(tables)
    verdicts: Counter[Verdict] = Counter()
    for table, count in times.items():
        verdicts[judge(table)] += count
    runs = times.total()
    return {
        "passes": verdicts[Verdict.PASS] / runs,
        "fails": verdicts[Verdict.FAIL] / runs,
        "inconclusive": verdicts[Verdict.INCONCLUSIVE] / runs,
    }
