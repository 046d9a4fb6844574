"""How far predictions of fixed texts moved: over all tokens, by position, and text by text. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import numpy as np

from harness.records.predictions import TextPredictions
from harness.stats import ALPHA
from harness.stats.proportion import share_bounds
from harness.stats.resample import ratio_bounds
from harness.strict import Strict

# Compression errs most where activations are largest: at the first token, then at the few after it.
FIRST = 8
TOKEN_0, FIRST_TOKENS, LATER = "token 0", f"tokens 1-{FIRST - 1}", f"from token {FIRST}"
PERCENTILES = (50, 90, 99)


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
