"""Two arms' predictions of the same texts, compared. Pure functions of their records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import numpy as np

from harness.records.predictions import CompareLine, TextPredictions, TextRecord
from harness.stats import ALPHA
from harness.stats.proportion import share_bounds
from harness.stats.resample import ratio_bounds
from harness.strict import Strict

# Compression errs most where activations are largest: at the first token, then at the few after it.
FIRST = 8
TOKEN_0, FIRST_TOKENS, LATER = "token 0", f"tokens 1-{FIRST - 1}", f"from token {FIRST}"
PERCENTILES = (50, 90, 99)
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
        kl: KL divergence of the other arm's distribution from the baseline's, over the whole vocabulary, in nats.
        kl_percentiles: Its percentiles, by `50`, `90`, `99`, and its largest value, `max`.
        same_top: Share whose most likely token is the same.
        loglikelihood: Change of the log-probability of the token that follows, in nats.
    """

    predictions: int
    kl: Estimate
    kl_percentiles: dict[str, float]
    same_top: Estimate
    loglikelihood: Estimate


class TextShift(Strict):
    """How far one text's predictions moved: means over its tokens.

    Attributes:
        text: The text's name.
        predictions: How many.
        kl: KL divergence from the baseline's, in nats.
        same_top: Share whose most likely token is the same.
        loglikelihood: Change of the log-probability of the token that follows, in nats.
    """

    text: str
    predictions: int
    kl: float
    same_top: float
    loglikelihood: float


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
        by_text: Each text by itself, in their order.
        worst: The predictions that moved farthest.
    """

    texts: int
    failed: int
    faults: list[str]
    overall: PredictionShift | None
    positions: dict[str, PredictionShift]
    by_text: list[TextShift]
    worst: list[Outlier]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One prediction in both arms.

    Attributes:
        text: The text's name.
        position: Number of the token after which the next is predicted.
        kl: KL divergence from the baseline's distribution, in nats.
        same_top: Whether the most likely token is the same.
        loglikelihood: Change of the log-probability of the token that follows, in nats.
    """

    text: str
    position: int
    kl: float
    same_top: bool
    loglikelihood: float


def compare(
    baseline: Sequence[TextRecord],
    other: Sequence[TextRecord],
    compared: Mapping[str, CompareLine],
    *,
    expected: int,
    names: tuple[str, str] = ("baseline", "compressed"),
    pieces: Mapping[int, str] | None = None,
    alpha: float = ALPHA,
) -> Fidelity:
    """Compare two arms.

    Args:
        baseline: The baseline's records.
        other: The other arm's.
        compared: What the other arm's server found, by the hash of a text's tokens.
        expected: How many texts each should have.
        names: What the arms are called in faults.
        pieces: Tokens as text; of one that is not among them its number is shown.
        alpha: Error of each bound.
    """
    ours, theirs = ({record.text: record for record in arm} for arm in (baseline, other))
    faults = [
        f"{expected - len(found)} of {expected} texts are missing in the {name} arm"
        for name, found in zip(names, (ours, theirs), strict=True)
        if len(found) != expected
    ]
    faults += [
        f"{len(arm) - len(found)} texts stand twice in the {name} arm"
        for name, arm, found in zip(names, (baseline, other), (ours, theirs), strict=True)
        if len(arm) != len(found)
    ]
    if only := sorted(ours.keys() ^ theirs.keys()):
        faults.append(f"{len(only)} texts are in one arm only, the first is {only[0]}")
    found: list[Moved] = []
    for text in [text for text in ours if text in theirs]:
        here, there = ours[text], theirs[text]
        if here.text_hash != there.text_hash:
            faults.append(f"{text} is another text in the {names[1]} arm")
        elif here.error is None and there.error is None:
            line = compared.get(there.token_hash)
            if here.tokens != there.tokens:
                faults.append(f"the tokens of {text} differ between the arms")
            elif line is None or len(line.kl) != len(here.tokens) - 1:
                why = line.not_measured if line and line.not_measured else "nothing of it was written"
                faults.append(f"the {names[1]} arm's server did not compare {text}: {why}")
            else:
                found += moved(text, line)
    return Fidelity(
        texts=len({move.text for move in found}),
        failed=sum(record.error is not None for arm in (baseline, other) for record in arm),
        faults=faults,
        overall=summarise(found, alpha) if found else None,
        positions=by_position(found, alpha),
        by_text=by_text(found),
        worst=[
            _outlier(move, theirs[move.text].tokens, compared[theirs[move.text].token_hash], pieces or {})
            for move in sorted(found, key=lambda move: (-move.kl, move.text, move.position))[:WORST]
        ],
    )


def moved(text: str, compared: TextPredictions) -> list[Moved]:
    """Return each prediction of a text beside the uncompressed one."""
    columns = zip(compared.kl, compared.baseline, compared.candidate, compared.same_top, strict=True)
    return [
        # Rounding may leave a divergence of nothing a little below 0.
        Moved(text=text, position=position, kl=max(kl, 0.0), same_top=same_top, loglikelihood=candidate - baseline)
        for position, (kl, baseline, candidate, same_top) in enumerate(columns)
    ]


def moves(texts: Sequence[TextPredictions]) -> list[Moved]:
    """Return the predictions of several texts, named by their tokens' hashes."""
    return [move for text in texts for move in moved(text.text, text)]


def _class(position: int) -> str:
    if position == 0:
        return TOKEN_0
    return FIRST_TOKENS if position < FIRST else LATER


def summarise(found: Sequence[Moved], alpha: float = ALPHA) -> PredictionShift:
    """Return how far predictions moved.

    Args:
        found: The predictions, at least one; those of a text stand together.
        alpha: Error of each bound.
    """
    kl = [move.kl for move in found]
    at = {str(percent): float(np.percentile(kl, percent)) for percent in PERCENTILES}
    texts = by_text(found)
    return PredictionShift(
        predictions=len(found),
        kl=mean_kl(texts, alpha),
        kl_percentiles={**at, "max": max(kl)},
        same_top=mean_same_top(texts, alpha),
        loglikelihood=mean_loglikelihood(texts, alpha),
    )


def by_text(found: Sequence[Moved]) -> list[TextShift]:
    """Return how far each text's predictions moved; those of a text stand together."""
    grouped = [list(group) for _, group in groupby(found, key=lambda move: move.text)]
    return [
        TextShift(
            text=group[0].text,
            predictions=len(group),
            kl=fmean(move.kl for move in group),
            same_top=fmean(move.same_top for move in group),
            loglikelihood=fmean(move.loglikelihood for move in group),
        )
        for group in grouped
    ]


def mean_kl(texts: Sequence[TextShift], alpha: float) -> Estimate:
    """Return the mean KL divergence of a token, with bounds whose error is `alpha` each."""
    return _estimate(texts, lambda text: text.kl, alpha, positive=True)


def mean_loglikelihood(texts: Sequence[TextShift], alpha: float) -> Estimate:
    """Return the mean change of a token's log-probability, with bounds whose error is `alpha` each."""
    return _estimate(texts, lambda text: text.loglikelihood, alpha)


def mean_same_top(texts: Sequence[TextShift], alpha: float) -> Estimate:
    """Return the share of predictions whose most likely token stays, with bounds whose error is `alpha` each."""
    same = _estimate(texts, lambda text: text.same_top, alpha)
    predictions = sum(text.predictions for text in texts)
    # Where no text has a token that changed, resampling texts knows no doubt; the tokens' number does.
    low, high = share_bounds(round(same.mean * predictions), predictions, alpha)
    return Estimate(mean=same.mean, low=max(min(same.low, low), 0.0), high=min(max(same.high, high), 1.0))


def by_position(found: Sequence[Moved], alpha: float = ALPHA) -> dict[str, PredictionShift]:
    """Return how far predictions moved after token 0, after the first tokens behind it, and after the rest."""
    classes = {
        name: [move for move in found if _class(move.position) == name] for name in (TOKEN_0, FIRST_TOKENS, LATER)
    }
    return {name: summarise(part, alpha) for name, part in classes.items() if part}


def _estimate(
    texts: Sequence[TextShift], value: Callable[[TextShift], float], alpha: float, *, positive: bool = False
) -> Estimate:
    # A text's tokens are alike: the texts, not the tokens, are the independent draws.
    sizes = np.array([text.predictions for text in texts], np.float64)
    sums = np.array([value(text) for text in texts]) * sizes
    low, high = ratio_bounds(sums, sizes, alpha, positive=positive)
    return Estimate(mean=float(sums.sum() / sizes.sum()), low=float(low), high=float(high))


def _outlier(move: Moved, tokens: Sequence[int], line: CompareLine, pieces: Mapping[int, str]) -> Outlier:
    after = move.position + 1
    named = (tokens[after], line.baseline_top[move.position], line.candidate_top[move.position])
    *before, follows, expected, other = (
        pieces.get(token, f"[{token}]") for token in (*tokens[max(1, after - WORDS_BEFORE) : after], *named)
    )
    return Outlier(
        text=move.text,
        position=move.position,
        before="".join(before),
        follows=follows,
        token=tokens[after],
        kl=move.kl,
        baseline=expected,
        other=other,
    )
