"""How often the verdicts on predictions of fixed text err: the bounds and rules that judge a run, on drawn texts.

A text's mean divergence is drawn from what texts were seen to have (lognormal, with a spread of 0.3 to 0.5 in
logarithms) and from longer tails; its length from 16 to 127 tokens, as short and long texts are cut, or all alike;
and short texts may diverge more, as they do where token 0 diverges most. The truth is the mean over all tokens of all
such texts, and the limit is exactly there, where both verdicts are errors.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from harness.judge.fidelity import FEWEST_TEXTS
from harness.stats.proportion import share_bounds
from harness.stats.resample import ratio_bounds
from harness.validation.other_cells import OtherCell

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
TEXTS = (FEWEST_TEXTS, 155)
SHORTEST, LONGEST = 16, 127
# Uniform up to here, and cut at LONGEST: about half of all texts are cut.
UNCUT = 220
# What token 0 adds to a text, in mean divergences of a token.
FIRST_TOKEN = 15
# Runs judged at once: bounds the memory.
BATCH = 250
KL, LOGLIKELIHOOD, TOP, WORST = "mean KL", "log-likelihood drop", "same top token", "worst text"
# Beyond these the mean of 64 texts cannot be known: shown, and no bar.
UNKNOWABLE = "mean KL, tails beyond what 64 texts show"
# What so many texts show of a likelihood that did not change, where a limit of 0.01 nats is given.
SHOWN, SHOWN_LIMIT = "log-likelihood drop, no harm", 0.01
# Seen on the CPU default under int8_token: of texts' means, weighted by their length.
LIKELIHOOD_SPREAD = 0.045
SAME_TOP = 0.88
LIKELIHOOD_DROP = 0.03
# One text in so many diverges so many times as far.
RARE, TIMES = 30, 20.0


def _lognormal(spread: float) -> Draw:
    return lambda rng, shape: rng.lognormal(-(spread**2) / 2, spread, shape)


def _contaminated(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    usual = rng.lognormal(-0.045, 0.3, shape)
    return usual * np.where(rng.random(shape) < 1 / RARE, TIMES, 1.0) / (1 + (TIMES - 1) / RARE)


def _pareto(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (rng.pareto(3, shape) + 1) * 2 / 3


# Means of 1.
KNOWABLE: dict[str, Draw] = {
    "gamma, spread 0.35": lambda rng, shape: rng.gamma(8, 1 / 8, shape),
    "gamma, spread 0.7": lambda rng, shape: rng.gamma(2, 1 / 2, shape),
    "lognormal, spread 0.3": _lognormal(0.3),
    "lognormal, spread 0.5": _lognormal(0.5),
    "lognormal, spread 1 (heavy-tailed)": _lognormal(1.0),
}
HEAVIER: dict[str, Draw] = {
    "lognormal, spread 1.5": _lognormal(1.5),
    "Pareto, no third moment": _pareto,
    f"one text in {RARE} {TIMES:g} times as far": _contaminated,
}
# Seen, weighted by length: skewed by 0.1, with an excess kurtosis of 1.6.
CHANGES: dict[str, Draw] = {
    "normal": lambda rng, shape: LIKELIHOOD_DROP + LIKELIHOOD_SPREAD * rng.normal(size=shape),
    "heavy-tailed (t, 3 degrees)": lambda rng, shape: LIKELIHOOD_DROP + 0.03 * rng.standard_t(3, shape),
    "skewed by 1": lambda rng, shape: LIKELIHOOD_DROP + LIKELIHOOD_SPREAD * (rng.gamma(4, 1, shape) - 4) / 2,
}


def simulate_predictions(runs: int, rng: np.random.Generator) -> Iterator[OtherCell]:
    """Simulate all cells.

    Args:
        runs: Runs a cell.
        rng: Random numbers.
    """
    for texts, (name, draw), unlike in product(TEXTS, KNOWABLE.items(), (False, True)):
        # More texts of like length are the easiest there are.
        if unlike or texts == TEXTS[0]:
            yield _mean(KL, texts, runs, rng, name=name, draw=draw, unlike=unlike)
    for texts, (name, draw) in product(TEXTS, HEAVIER.items()):
        yield _mean(UNKNOWABLE, texts, runs, rng, name=name, draw=draw, unlike=True)
    for texts, (name, draw) in product(TEXTS, CHANGES.items()):
        yield _mean(LOGLIKELIHOOD, texts, runs, rng, name=name, draw=draw, unlike=True)
    for texts in (*TEXTS, 400):
        yield _no_harm(texts, runs, rng)
    for texts, unlike in product(TEXTS, (False, True)):
        yield _same_top(texts, runs, rng, unlike=unlike)
    for texts in TEXTS:
        yield _worst_text(texts, runs, rng)


def _lengths(rng: np.random.Generator, shape: tuple[int, ...], *, unlike: bool) -> Array:
    if not unlike:
        return np.full(shape, float(LONGEST))
    return np.minimum(LONGEST, np.floor(rng.uniform(SHORTEST, UNCUT, shape)))


def _mean_length() -> float:
    """Return the mean length of texts of unlike length."""
    uncut = np.arange(SHORTEST, UNCUT)
    return float(np.minimum(LONGEST, uncut).mean())


def _mean(
    kind: str, texts: int, runs: int, rng: np.random.Generator, *, name: str, draw: Draw, unlike: bool
) -> OtherCell:
    """The mean over all tokens; the limit is the truth."""
    positive = kind != LOGLIKELIHOOD
    truth = 1.0 if positive else LIKELIHOOD_DROP
    if positive and unlike:
        truth = 1 + FIRST_TOKEN / _mean_length()

    def bounds(count: int) -> tuple[Array, Array]:
        sizes, values = _lengths(rng, (count, texts), unlike=unlike), draw(rng, (count, texts))
        sums = values * (sizes + FIRST_TOKEN) if positive and unlike else values * sizes
        return ratio_bounds(sums, sizes, positive=positive)

    what = f"{texts} texts of {'unlike' if unlike else 'like'} length, {name}; limit at the truth"
    return _cell(kind, what, bounds, truth, runs, counts=kind != UNKNOWABLE)


def _no_harm(texts: int, runs: int, rng: np.random.Generator) -> OtherCell:
    """A likelihood that does not change on average; PASS is power."""

    def bounds(count: int) -> tuple[Array, Array]:
        return ratio_bounds(LIKELIHOOD_SPREAD * rng.normal(size=(count, texts)), np.ones((count, texts)))

    what = f"{texts} texts whose means spread by {LIKELIHOOD_SPREAD:g} nats, limit {SHOWN_LIMIT:g}"
    return _cell(SHOWN, what, bounds, SHOWN_LIMIT, runs, counts=False)


def _same_top(texts: int, runs: int, rng: np.random.Generator, *, unlike: bool) -> OtherCell:
    """The share of changed tokens: a text's own share varies, and its tokens change by it."""

    def bounds(count: int) -> tuple[Array, Array]:
        sizes = _lengths(rng, (count, texts), unlike=unlike)
        own = rng.beta(20 * (1 - SAME_TOP), 20 * SAME_TOP, (count, texts))
        changed = rng.binomial(sizes.astype(np.int64), own).astype(np.float64)
        low, high = ratio_bounds(changed, sizes)
        all_low, all_high = np.array(
            [share_bounds(int(some), int(of)) for some, of in zip(changed.sum(1), sizes.sum(1), strict=True)]
        ).T
        return np.minimum(low, all_low), np.maximum(high, all_high)

    length = "unlike" if unlike else "like"
    what = f"{texts} texts of {length} length, {SAME_TOP:.0%} of the tokens stay; limit at the truth"
    return _cell(TOP, what, bounds, 1 - SAME_TOP, runs)


def _worst_text(texts: int, runs: int, rng: np.random.Generator) -> OtherCell:
    """None beyond the limit, though as many of all texts are as a PASS says there are not."""
    _, share = share_bounds(0, texts)
    passes = float((rng.binomial(texts, share, runs) == 0).mean())
    return OtherCell(
        kind=WORST,
        what=f"{texts} texts, {share:.1%} of all such texts beyond the limit",
        runs=runs,
        passes=passes,
        fails=1 - passes,
        inconclusive=0.0,
        false_pass=True,
    )


def _cell(
    kind: str,
    what: str,
    bounds: Callable[[int], tuple[Array, Array]],
    limit: float,
    runs: int,
    *,
    counts: bool = True,
) -> OtherCell:
    """Judge runs by their bounds, each of which has an error of ALPHA; where the limit is the truth, both may err."""
    batches = [bounds(min(BATCH, runs - start)) for start in range(0, runs, BATCH)]
    low, high = (np.concatenate(side) for side in zip(*batches, strict=True))
    passes, fails = float((high < limit).mean()), float((low > limit).mean())
    return OtherCell(
        kind=kind,
        what=what,
        runs=runs,
        passes=passes,
        fails=fails,
        inconclusive=1 - passes - fails,
        false_pass=counts,
        false_fail=counts,
    )
