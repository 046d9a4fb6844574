"""The other verdicts, by the rules that judge a real run: floors, flips beyond the noise."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.config.thresholds import Threshold
from harness.judge.task_gates import TaskNumbers, judge_task
from harness.judge.verdict import Verdict
from harness.stats import PairedCounts
from harness.stats.flips import excess_of
from harness.validation.truth import Truth

Of = TypeVar("Of", bound=Hashable)
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
    for (n, floor), above, rule in product(FLOORS, ABOVE, ("point", "confident")):
        yield _floor(n, floor, above, runs, rng, rule=rule)
    for n, noise, excess in product(FLIP_SIZES, FLIP_NOISES, (0.0, 0.05)):
        yield _flips(n, noise, excess, runs, rng)


def _floor(n: int, floor: float, above: float, runs: int, rng: np.random.Generator, *, rule: str) -> OtherCell:
    threshold = Threshold.model_validate(
        {"metric": "acc,none", "floor": floor, "floor_rule": rule, "source": "simulated"}
    )

    def judge(right: int) -> Verdict:
        counts = PairedCounts(both_right=right, baseline_only=0, compressed_only=0, both_wrong=n - right)
        return judge_task(TaskNumbers(name="task", counts=counts), threshold).verdict

    rates = judged_rates(rng.binomial(n, floor + above, runs).tolist(), judge)
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
    rates = judged_rates(map(tuple, drawn.tolist()), judge)
    what = f"{n} questions, {noise:.0%} flip by themselves, true and accepted excess {accepted:.1%}"
    return OtherCell(kind="flips", what=what, runs=runs, false_pass=True, false_fail=True, **rates)


def judged_rates(tables: Iterable[Of], judge: Callable[[Of], Verdict]) -> dict[str, float]:
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
