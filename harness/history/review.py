"""Every threshold with its evidence: what it would have said on the good nights, what it would see, how old it is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log10
from statistics import fmean, median

import numpy as np

from harness.history.good_nights import GoodNights, good_nights
from harness.history.record import POOLED, Figure
from harness.history.store import Run, Store
from harness.judge.calibration import FEWEST_STARTS, Starts, propose_floor
from harness.judge.drop import check_drop
from harness.judge.error_budget import fail_levels
from harness.judge.margin_chances import missed_by
from harness.plan.plan import BASELINE, COMPRESSED, Plan, TaskPlan
from harness.records.predictions import FIDELITY
from harness.stats import PairedCounts
from harness.stats.planning import drop_outcomes

# With this chance the drop that is named FAILs.
SEES = 0.8
STEPS = 10
# Nights from which a limit of predictions is proposed, and by how much it is above the worst of them.
FEWEST_NIGHTS = 10
HEADROOM = 1.2
# What is nearer to the limit there is than this is no proposal.
WORTH = 0.9
LIMITS = {
    "max_mean_kl": "mean KL",
    "max_text_kl": "worst text's KL",
    "max_loglikelihood_drop": "log-likelihood drop",
    "min_same_top": "same top token",
}
SGLANG = re.compile(r"SGLang (\d[\w.]*)")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One threshold.

    Attributes:
        task: The task, `pooled` or `fidelity`.
        key: Its key.
        value: It.
        nights: Good nights that it is held against.
        fails: How many of them it would have FAILed.
        undecided: How many it would have left INCONCLUSIVE.
        sees: What it would see, and with what chance.
        since: The first run of the memory from which on it was what it is.
        set_for: The version of SGLang that its row names, and today's; empty for none.
        proposal: Another value; None for none.
        why: Why, or why not.
    """

    task: str
    key: str
    value: float
    nights: int
    fails: int
    undecided: int
    sees: str
    since: str
    set_for: str
    proposal: float | None = None
    why: str = ""

    @property
    def name(self) -> str:
        """Task and key in one."""
        return f"{self.task}.{self.key}"


def review(store: Store, suite: str, plan: Plan, *, allow_wider: bool = False) -> list[Evidence]:
    """Return every threshold of a suite with its evidence.

    Args:
        store: The memory, brought up to date.
        suite: The suite.
        plan: A plan of it with the thresholds to be looked at.
        allow_wider: Whether what is wider than today may be proposed.
    """
    nights = good_nights(store, suite)
    levels = fail_levels(plan)
    found: list[Evidence] = []
    for name, task in plan.tasks.items():
        if task.threshold.max_drop is not None:
            found.append(
                _drop(
                    nights,
                    name,
                    [name],
                    task.threshold.max_drop,
                    level=levels[f"{name}.max_drop"],
                    row=str(task.threshold),
                )
            )
        if task.threshold.floor is not None:
            found.append(_floor(nights, name, task, allow_wider=allow_wider))
    if plan.pooled is not None:
        pooled = [name for name, task in plan.tasks.items() if task.threshold.max_drop is not None]
        found.append(
            _drop(
                nights,
                POOLED,
                pooled,
                plan.pooled.max_drop,
                level=levels[f"{POOLED}.max_drop"],
                row=plan.pooled.source,
            )
        )
    row = plan.fidelity.threshold if plan.fidelity else None
    for key, figure in LIMITS.items():
        if row is not None and (value := getattr(row, key)) is not None:
            found.append(
                _limit(nights, key, value, nights.values(FIDELITY, figure), str(row), allow_wider=allow_wider)
            )
    return found


def _drop(
    nights: GoodNights, name: str, tasks: Sequence[str], max_drop: float, *, level: float, row: str
) -> Evidence:
    counts = [one for run in nights.good if (one := nights.counts(tasks, run.run_id)) is not None]
    decided: dict[PairedCounts, str | None] = {}
    for one in counts:
        if one not in decided:
            decided[one] = check_drop(one, max_drop, fail_alpha=level).decision
    said = [decided[one] for one in counts]
    sees = "nothing: no good night"
    if counts:
        turned = median((one.baseline_only + one.compressed_only) / one.n for one in counts)
        sees = _seen(counts[-1].n, turned, max_drop, level)
    return Evidence(
        task=name,
        key="max_drop",
        value=max_drop,
        nights=len(counts),
        fails=said.count("FAIL"),
        undecided=said.count(None),
        sees=sees,
        since=_since(nights.runs, f"threshold {name}.max_drop", max_drop),
        set_for=_set_for(nights.runs, row),
        why="the owner's: what a model may lose is for nobody else to say",
    )


def _seen(n: int, turned: float, max_drop: float, level: float) -> str:
    """Say which drop FAILs with the chance SEES, and which still PASSes in every second run."""

    def fails(drop: float) -> float:
        return drop_outcomes(n, max(turned, drop), drop, max_drop, fail_alpha=level).fails

    low, high = max_drop, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if fails(middle) >= SEES else (middle, high)
    missed = missed_by(n, max_drop, max(round(turned, 4), 1 / n))
    passes = "no drop" if missed is None else f"one of {missed * 100:.1f} points"
    return (
        f"a drop of {high * 100:.1f} points FAILs in {SEES:.0%} of runs, {passes} PASSes in every second "
        f"({n:,} questions, {turned:.1%} of them turn)"
    )


def _floor(nights: GoodNights, name: str, task: TaskPlan, *, allow_wider: bool) -> Evidence:
    row = task.threshold
    floor = row.floor or 0.0
    values = [figure.value for figure in nights.values(name, COMPRESSED)]
    answers = list(nights.answers.get((name, BASELINE), {}).values())
    sees, proposal, why = (
        "nothing: no good night",
        None,
        f"no proposal: {len(answers)} good nights of these questions",
    )
    if answers:
        turned = [float((one != answers[-1]).mean()) for one in answers[:-1]]
        starts = Starts(
            n=len(answers[-1]),
            accuracies=[float(np.nanmean(one)) for one in answers],
            noise=max(turned, default=None),
        )
        chances = starts.alarms(floor)
        harmless = ", ".join(f"{chance:.1%} where {float(share):.0%}" for share, chance in chances.items())
        sees = f"harmless compression misses it in {harmless} of the questions turn"
        if len(answers) >= FEWEST_STARTS:
            proposal, why = propose_floor(row, starts, allow_wider=allow_wider)
    return Evidence(
        task=name,
        key="floor",
        value=floor,
        nights=len(values),
        fails=sum(value < floor for value in values),
        undecided=0,
        sees=sees,
        since=_since(nights.runs, f"threshold {name}.floor", floor),
        set_for=_set_for(nights.runs, str(row)),
        proposal=None if proposal == floor else proposal,
        why=why,
    )


def _limit(
    nights: GoodNights, key: str, value: float, figures: Sequence[Figure], row: str, *, allow_wider: bool
) -> Evidence:
    """Return the evidence of a limit of the predictions; a share that must stay is looked at as one that goes."""
    flip = key == "min_same_top"
    limit = 1 - value if flip else value
    # (value, low, high) of each night, more is worse.
    seen = [
        (1 - one.value, 1 - (one.high or 1.0), 1 - (one.low or 0.0))
        if flip
        else (one.value, one.value if one.low is None else one.low, one.value if one.high is None else one.high)
        for one in figures
    ]
    fails = sum(low > limit for _, low, _ in seen)
    undecided = sum(low <= limit <= high for _, low, high in seen)
    sees, proposal, why = (
        "nothing: no good night",
        None,
        f"no proposal: {len(seen)} good nights, {FEWEST_NIGHTS} needed",
    )
    if seen:
        reach = fmean(found - low for found, low, _ in seen)
        usual = fmean(found for found, _, _ in seen)
        sees = (
            f"{'a share changed' if flip else 'a true value'} of {limit + reach:.3g} FAILs in every second run; the "
            f"good nights have {usual:.3g}"
        )
    if len(seen) >= FEWEST_NIGHTS:
        most = _rounded(max(max(found * HEADROOM, high) for found, _, high in seen))
        proposal, why = _proposed(limit, most, len(seen), allow_wider=allow_wider)
    if proposal is not None and flip:
        proposal = round(1 - proposal, 6)
    return Evidence(
        task=FIDELITY,
        key=key,
        value=value,
        nights=len(seen),
        fails=fails,
        undecided=undecided,
        sees=sees,
        since=_since(nights.runs, f"threshold {FIDELITY}.{key}", value),
        set_for=_set_for(nights.runs, row),
        proposal=proposal,
        why=why,
    )


def _proposed(limit: float, found: float, nights: int, *, allow_wider: bool) -> tuple[float | None, str]:
    why = f"the worst of {nights} good nights and its bound, and a fifth above, come to {found:g}"
    if found == 0:
        return None, f"stays: in {nights} good nights it never got worse, and no limit is 0"
    if found < limit * WORTH:
        return found, why
    if found <= limit:
        return None, f"stays: {why}, which is about what it is"
    if allow_wider:
        return found, f"{why}, which is wider than today"
    return None, f"stays: {why}; that is wider than today, which takes --allow-wider"


def _rounded(value: float) -> float:
    """Return a number rounded up to two digits."""
    if value <= 0:
        return 0.0
    digits = 10.0 ** (ceil(log10(value)) - 2)
    return round(ceil(value / digits - 1e-9) * digits, 9)


def _since(runs: Sequence[Run], fact: str, value: float) -> str:
    """Return since which run a threshold is what it is."""
    since = ""
    for run in reversed(runs):
        if run.facts.get(fact) != str(value):
            break
        since = run.started[:10]
    return since or "not yet run with"


def _set_for(runs: Sequence[Run], row: str) -> str:
    named = SGLANG.findall(row) or re.findall(r"sglang='([^']+)'", row)
    today = runs[-1].facts.get("sglang", "unknown") if runs else "unknown"
    return "" if not named else named[-1].rstrip(".") if named[-1] == today else f"{named[-1]}, now {today}"


def proposals(model: str, found: Sequence[Evidence], date: str) -> Iterator[tuple[tuple[str, ...], float, str]]:
    """Yield each proposal: its place in the file, the value, and what is to stand behind it.

    Args:
        model: The model.
        found: The thresholds.
        date: Today, as YYYY-MM-DD.
    """
    for one in found:
        if one.proposal is not None:
            yield ("models", model, one.task, one.key), one.proposal, f"{date}, {one.nights} good nights"
