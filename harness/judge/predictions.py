"""Two arms' predictions of the same texts, compared. Pure functions of their records."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import exp, fsum, log

import numpy as np

from harness.records.predictions import TextRecord
from harness.stats import ALPHA
from harness.stats.proportion import share_bounds
from harness.stats.resample import bootstrap_cluster_mean
from harness.strict import Strict

# Compression errs most where activations are largest: at the first token, then at the few after it.
FIRST = 8


TOKEN_0, FIRST_TOKENS, LATER = "token 0", f"tokens 1-{FIRST - 1}", f"from token {FIRST}"


PERCENTILES = (50, 90, 99)
# Masses below this are what fp32 log-probabilities leave of 1 by rounding, and mean nothing.
SMALLEST_MASS = 1e-6
WORST = 10
WORDS_BEFORE = 8


class Estimate(Strict):
    """A mean over tokens, with one-sided bounds that hold with 95 % each.

    Attributes:
        mean: The mean.
        low: Lower bound; -inf for fewer than two texts.
        high: Upper bound; inf for fewer than two texts.
    """

    mean: float
    low: float
    high: float


class PredictionShift(Strict):
    """How far predictions moved from one arm to the other.

    Attributes:
        predictions: How many.
        kl: KL divergence of the other arm's distribution from the baseline's, in nats; a lower bound of the true one.
        kl_percentiles: Its percentiles, by `50`, `90`, `99`, and its largest value, `max`.
        same_top: Share whose most likely token is the same.
        loglikelihood: Change of the log-probability of the token that follows, in nats.
        lumped: Share of the baseline's probability that is on tokens compared as one lump.
    """

    predictions: int
    kl: Estimate
    kl_percentiles: dict[str, float]
    same_top: Estimate
    loglikelihood: Estimate
    lumped: float


class Outlier(Strict):
    """A prediction that moved far, for a person to look at.

    Attributes:
        text: The text's name.
        position: Number of the token after which the next is predicted, from 0.
        before: The last few words up to there, without the text's first token.
        follows: The token that follows.
        token: Its id.
        kl: KL divergence, in nats.
        baseline: The baseline's most likely token.
        other: The other arm's.
    """

    text: str
    position: int
    before: str
    follows: str
    token: int
    kl: float
    baseline: str
    other: str


class Fidelity(Strict):
    """How far two arms' predictions of the same texts are apart.

    Attributes:
        texts: Texts that both arms predicted.
        failed: Requests that failed, in either arm.
        faults: Why the arms are not comparable; empty where they are.
        overall: All predictions; None for none.
        positions: Token 0, the first tokens after it and the rest, each apart.
        worst: The predictions that moved farthest.
    """

    texts: int
    failed: int
    faults: list[str]
    overall: PredictionShift | None
    positions: dict[str, PredictionShift]
    worst: list[Outlier]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One prediction in both arms.

    Attributes:
        text: The text's name.
        position: Number of the token after which the next is predicted.
        kl: KL divergence from the baseline's distribution, in nats.
        lumped: The baseline's probability of the lump.
        same_top: Whether the most likely token is the same.
        loglikelihood: Change of the log-probability of the token that follows, in nats.
    """

    text: str
    position: int
    kl: float
    lumped: float
    same_top: bool
    loglikelihood: float


def compare(
    baseline: Sequence[TextRecord],
    other: Sequence[TextRecord],
    *,
    expected: int,
    names: tuple[str, str] = ("baseline", "compressed"),
    alpha: float = ALPHA,
) -> Fidelity:
    """Compare two arms.

    Args:
        baseline: The baseline's records.
        other: The other arm's.
        expected: How many texts each should have.
        names: What the arms are called in faults.
        alpha: Error of each bound.
    """
    ours, theirs = ({record.text: record for record in arm} for arm in (baseline, other))
    faults = [
        f"{expected - len(found)} of {expected} texts are missing in the {name} arm"
        for name, found in zip(names, (ours, theirs), strict=True)
        if len(found) != expected
    ]
    if only := sorted(ours.keys() ^ theirs.keys()):
        faults.append(f"{len(only)} texts are in one arm only, the first is {only[0]}")
    moved: list[Moved] = []
    for text in [text for text in ours if text in theirs]:
        here, there = ours[text], theirs[text]
        if here.text_hash != there.text_hash:
            faults.append(f"{text} is another text in the {names[1]} arm")
        elif here.error is None and there.error is None:
            if here.tokens != there.tokens:
                faults.append(f"the tokens of {text} differ between the arms")
            else:
                moved += (_moved(here, there, position) for position in range(len(here.logprobs)))
    classes = {
        name: [move for move in moved if _class(move.position) == name] for name in (TOKEN_0, FIRST_TOKENS, LATER)
    }
    return Fidelity(
        texts=len({move.text for move in moved}),
        failed=sum(record.error is not None for arm in (baseline, other) for record in arm),
        faults=faults,
        overall=_shift(moved, alpha) if moved else None,
        positions={name: _shift(moves, alpha) for name, moves in classes.items() if moves},
        worst=[
            _outlier(move, ours[move.text], theirs[move.text])
            for move in sorted(moved, key=lambda move: (-move.kl, move.text, move.position))[:WORST]
        ],
    )


def divergence(p: dict[int, float], q: dict[int, float]) -> tuple[float, float]:
    """Return the KL divergence of q from p over their common tokens and one lump of all others, and p's lump.

    To lump is to look less closely, and that never raises a KL divergence (data-processing inequality): this
    is a lower bound of the divergence over the whole vocabulary. The lump's mass is what the common tokens
    leave of 1; where rounding makes that less than SMALLEST_MASS, in either arm, it is taken as that. Each cell adds
    p log(p/q) - p + q, the same sum for masses that sum to 1, and never negative for any that almost do.

    Args:
        p: Natural log-probabilities by token, in the baseline.
        q: Those in the other arm.

    Returns:
        Nats, and a share.

    Source: T. Cover, J. Thomas, "Elements of Information Theory", 2nd ed. (2006), theorem 2.7.1 (log sum
        inequality).
    """
    common = sorted(p.keys() & q.keys())
    here, there = ([logprobs[token] for token in common] for logprobs in (p, q))
    lump_here, lump_there = (max(1 - fsum(map(exp, logs)), SMALLEST_MASS) for logs in (here, there))
    cells = zip([*here, log(lump_here)], [*there, log(lump_there)], strict=True)
    # Of logarithms, not of masses: a broken arm's log-probability of -1000 is a mass of 0.
    total = fsum(exp(before) * (before - after - 1) + exp(after) for before, after in cells)
    return max(total, 0.0), lump_here


def _moved(here: TextRecord, there: TextRecord, position: int) -> Moved:
    p, q = _distribution(here, position), _distribution(there, position)
    kl, lumped = divergence(p, q)
    return Moved(
        text=here.text,
        position=position,
        kl=kl,
        lumped=lumped,
        same_top=_most_likely(here, position) == _most_likely(there, position),
        loglikelihood=there.logprobs[position] - here.logprobs[position],
    )


def _distribution(record: TextRecord, position: int) -> dict[int, float]:
    """Return what is known of a prediction: its most likely tokens, and the one that follows."""
    known = dict(zip(record.top_tokens[position], record.top_logprobs[position], strict=True))
    return known | {record.tokens[position + 1]: record.logprobs[position]}


def _most_likely(record: TextRecord, position: int) -> int:
    """Return the most likely token; of several, the one with the smallest id."""
    logprobs, tokens = record.top_logprobs[position], record.top_tokens[position]
    return min(zip(logprobs, tokens, strict=True), key=lambda entry: (-entry[0], entry[1]))[1]


def _class(position: int) -> str:
    if position == 0:
        return TOKEN_0
    return FIRST_TOKENS if position < FIRST else LATER


def _shift(moved: Sequence[Moved], alpha: float) -> PredictionShift:
    kl = [move.kl for move in moved]
    at = {str(percent): float(np.percentile(kl, percent)) for percent in PERCENTILES}
    same = _estimate(moved, lambda move: float(move.same_top), alpha)
    # Where no text has a token that changed, resampling texts knows no doubt; the tokens' number does.
    low, high = share_bounds(sum(move.same_top for move in moved), len(moved), alpha)
    return PredictionShift(
        predictions=len(moved),
        kl=_estimate(moved, lambda move: move.kl, alpha),
        kl_percentiles={**at, "max": max(kl)},
        same_top=Estimate(mean=same.mean, low=min(same.low, low), high=max(same.high, high)),
        loglikelihood=_estimate(moved, lambda move: move.loglikelihood, alpha),
        lumped=float(np.mean([move.lumped for move in moved])),
    )


def _estimate(moved: Iterable[Moved], value: Callable[[Moved], float], alpha: float) -> Estimate:
    # A text's tokens are alike: the texts, not the tokens, are the independent draws.
    groups = [[value(move) for move in text] for _, text in groupby(moved, key=lambda move: move.text)]
    low, high = bootstrap_cluster_mean(groups, alpha)
    return Estimate(mean=float(np.mean([one for group in groups for one in group])), low=low, high=high)


def _outlier(moved: Moved, here: TextRecord, there: TextRecord) -> Outlier:
    position = moved.position
    return Outlier(
        text=moved.text,
        position=position,
        # Piece i is token i + 1.
        before="".join(here.pieces[max(0, position - WORDS_BEFORE) : position]),
        follows=here.pieces[position],
        token=here.tokens[position + 1],
        kl=moved.kl,
        baseline=here.best[position],
        other=there.best[position],
    )
