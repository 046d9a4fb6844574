"""Turns the comparison of predictions into a verdict, and a large shift that no threshold judges into a warning."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.config.thresholds import FidelityThreshold
from harness.errors import HarnessError
from harness.judge.error_budget import FIDELITY_GATES, fail_levels
from harness.judge.prediction_shift import Estimate, TextShift, mean_kl, mean_loglikelihood, mean_same_top
from harness.judge.predictions import Fidelity, compare
from harness.judge.results import FidelityReport, Gate
from harness.judge.verdict import Judged, Verdict, worst
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, FidelityPlan, Plan
from harness.records.predictions import (
    FIDELITY,
    CompareLine,
    TextRecord,
    read_compared,
    read_pieces,
    read_predictions,
)
from harness.records.run_folder import RunFolder
from harness.stats import ALPHA
from harness.stats.proportion import share_bounds

# From here on a shift is large, in nats a token. On the CPU default, compression to INT8 a token comes to 0.069, to
# INT8 in groups of 64 to 0.008, none to 0. To compare: 5-bit weights of an 8 B model (llama.cpp's Q5_K_M) come to
# 0.005, 3-bit ones (IQ3_M) to 0.066: huggingface.co/eaddario/Watt-Tool-8B-GGUF, scores/.
LARGE_KL = 0.01
# Bounds that come from fewer texts than these err more often than they say: docs/validation.md.
FEWEST_TEXTS = 64
Mean = Callable[[Sequence[TextShift], float], Estimate]


def fidelity_report(folder: RunFolder, plan: Plan, fidelity: FidelityPlan) -> FidelityReport:
    """Build it.

    Args:
        folder: The run's folder.
        plan: The run's plan.
        fidelity: What it says of the fixed texts.
    """
    found: dict[str, list[TextRecord]] = {}
    compared: dict[str, dict[str, CompareLine]] = {}
    pieces: dict[str, dict[int, str]] = {}
    unread: list[str] = []
    for arm in (arm.name for arm in plan.arms):
        found[arm], compared[arm] = [], {}
        try:
            found[arm] = read_predictions(folder.arm(arm).predictions)
            if arm != BASELINE:
                compared[arm] = read_compared(folder.arm(arm).compared)
                pieces[arm] = read_pieces(folder.arm(arm).pieces)
        except HarnessError as error:
            unread.append(f"{arm} arm: {error}")
    expected = sum(fidelity.texts.values())

    def against_baseline(arm: str) -> Fidelity:
        return compare(
            found[BASELINE],
            found[arm],
            compared[arm],
            expected=expected,
            names=(BASELINE, arm),
            pieces=pieces.get(arm),
        )

    compressed = against_baseline(COMPRESSED)
    if unread:
        # Without records the comparison's own faults only say that again.
        compressed = compressed.model_copy(update={"faults": unread})
    noise = against_baseline(AGAIN) if AGAIN in found and not unread else None
    levels = fail_levels(plan)
    judged = judge_fidelity(compressed, noise, fidelity.threshold, levels)
    return FidelityReport(
        compressed=compressed,
        noise=noise,
        threshold=fidelity.threshold,
        warnings=fidelity_warnings(compressed, noise, fidelity.threshold),
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        gates={
            key: Gate(verdict=gate.verdict, reasons=list(gate.reasons))
            for key, gate in judge_gates(compressed, noise, fidelity.threshold, levels).items()
        },
        protocol=fidelity.protocol(),
    )


def judge_fidelity(
    fidelity: Fidelity, noise: Fidelity | None, threshold: FidelityThreshold | None, levels: Mapping[str, float]
) -> Judged:
    """Judge how far compression moved the predictions.

    Of a mean: PASS where its bound on the far side is within the limit, with an error of 5 %; FAIL where that on the
    near side is beyond, with the error that the run's budget gives it; INCONCLUSIVE between. The worst text is what
    it is: these very texts were read by both arms, nothing is inferred. What the baseline does by itself is no
    failure of compression: where the noise floor may be beyond the limit, so that a FAIL could not be told from it,
    the verdict is INCONCLUSIVE.

    Args:
        fidelity: The compressed arm against the baseline.
        noise: The baseline against itself, where that was measured.
        threshold: What is accepted, or None.
        levels: The error of each gate's FAIL, as `fidelity.KEY`.
    """
    if (unfit := _unfit_to_judge(fidelity, noise)) or fidelity.overall is None:
        return Judged(verdict=Verdict.ERROR, reasons=tuple(unfit))
    if threshold is None or not threshold.judges:
        return Judged(verdict=Verdict.REPORTED, reasons=("fidelity: reported only",))
    judged = worst(list(judge_gates(fidelity, noise, threshold, levels).values()))
    if fidelity.texts < FEWEST_TEXTS:
        # One sentence, whatever the number of gates.
        return Judged(verdict=judged.verdict, reasons=judged.reasons[:1])
    if (known := threshold.known) and judged.verdict is Verdict.PASS:
        return Judged(verdict=Verdict.PASS, reasons=(*judged.reasons, f"fidelity: no worse than known: {known.what}"))
    return judged


def judge_gates(
    fidelity: Fidelity, noise: Fidelity | None, threshold: FidelityThreshold | None, levels: Mapping[str, float]
) -> dict[str, Judged]:
    """Judge each gate by itself; arguments as for `judge_fidelity`.

    Returns:
        What each came to, by its key in thresholds.yaml; none where the predictions cannot be, or are not, judged.
    """
    if _unfit_to_judge(fidelity, noise) or fidelity.overall is None or threshold is None:
        return {}
    if fidelity.texts < FEWEST_TEXTS:
        text = f"fidelity: decided from {FEWEST_TEXTS} texts on, here {fidelity.texts}: too little data"
        few = Judged(verdict=Verdict.INCONCLUSIVE, reasons=(text,))
        return {key: few for key in (*FIDELITY_GATES, "max_text_kl") if getattr(threshold, key) is not None}
    texts, still, known = fidelity.by_text, noise.by_text if noise else None, threshold.known
    parts = {
        key: _judge(said.format, mean, limit, texts, still, level=levels[f"{FIDELITY}.{key}"], known=figure)
        for key, said, mean, limit, figure in (
            (
                "max_mean_kl",
                "mean KL divergence {:.4g} nats a token, allowed {:g}",
                mean_kl,
                threshold.max_mean_kl,
                known.mean_kl if known else None,
            ),
            (
                "max_loglikelihood_drop",
                "the texts' own tokens are less likely by {:.4g} nats each, allowed {:g}",
                _loglikelihood_drop,
                threshold.max_loglikelihood_drop,
                known.loglikelihood_drop if known else None,
            ),
            (
                "min_same_top",
                "the most likely token changed in a share of {:.4g}, allowed {:.4g}",
                _changed,
                None if threshold.min_same_top is None else 1 - threshold.min_same_top,
                1 - known.same_top if known else None,
            ),
        )
        if limit is not None
    }
    if threshold.max_text_kl is not None:
        known_text = known.text_kl if known else None
        parts["max_text_kl"] = _judge_worst_text(texts, still, threshold.max_text_kl, known_text)
    return parts


def fidelity_warnings(fidelity: Fidelity, noise: Fidelity | None, threshold: FidelityThreshold | None) -> list[str]:
    """Return what no threshold judges and nobody should miss: predictions that surely moved by LARGE_KL or more.

    Args:
        fidelity: The compressed arm against the baseline.
        noise: The baseline against itself, where that was measured; a shift that it may reach is no warning.
        threshold: What is accepted; with a `max_mean_kl` the verdict speaks instead.
    """
    if fidelity.overall is None or (threshold is not None and threshold.max_mean_kl is not None):
        return []
    shift, still = fidelity.overall, noise.overall if noise else None
    known = threshold.known.mean_kl if threshold and threshold.known else 0.0
    large = max(LARGE_KL, known)
    if shift.kl.low <= max(large, still.kl.high if still else 0.0):
        return []
    floor = f"baseline against itself: {still.kl.mean:.2g}" if still else "what changes by itself was not measured"
    where = ", ".join(f"{name} {part.kl.mean:.3f}" for name, part in fidelity.positions.items())
    changed = 1 - shift.same_top.mean
    text = (
        f"predictions of fixed text moved far: mean KL divergence {shift.kl.mean:.3f} nats a token, large from "
        f"{large:g} on ({where}; {floor}); {changed:.1%} of the most likely tokens changed, the text's "
        f"log-likelihood by {shift.loglikelihood.mean:+.3f} nats a token"
    )
    return [text]


def _unfit_to_judge(fidelity: Fidelity, noise: Fidelity | None) -> list[str]:
    """Return why the predictions cannot be judged; empty where they can."""
    return [*_unfit("fidelity", fidelity), *(_unfit("fidelity's noise floor", noise) if noise else ())]


def _unfit(name: str, fidelity: Fidelity) -> Iterator[str]:
    yield from (f"{name}: {fault}" for fault in fidelity.faults)
    if fidelity.failed:
        requests = "request" if fidelity.failed == 1 else "requests"
        yield f"{name}: {fidelity.failed} {requests} failed; a failed request is not a prediction"
    elif fidelity.overall is None and not fidelity.faults:
        yield f"{name}: nothing was predicted in both arms"


def _judge(
    said: Callable[[float, float], str],
    mean: Mean,
    limit: float,
    texts: Sequence[TextShift],
    still: Sequence[TextShift] | None,
    *,
    level: float,
    known: float | None,
) -> Judged:
    """Judge a mean by its bounds: its name and limit in words, how it is taken of texts, and of which."""
    seen, near = mean(texts, ALPHA), mean(texts, level).low
    text = said(seen.mean, limit)
    if seen.high < limit:
        verdict, why = Verdict.PASS, f"the true value is below {seen.high:.4g} ({_sure(ALPHA)}){_known(known)}"
    elif near <= limit:
        leans = "within" if seen.mean < limit else "beyond"
        verdict = Verdict.INCONCLUSIVE
        why = (
            f"the true value lies between {near:.4g} and {seen.high:.4g}, which decides nothing; it leans to {leans} "
            f"the limit{_known(known)}"
        )
    elif still is not None and (reaches := mean(still, ALPHA).high) >= limit:
        verdict, why = Verdict.INCONCLUSIVE, f"the baseline against itself may reach {reaches:.4g}"
    else:
        verdict, why = Verdict.FAIL, f"the true value is above {near:.4g} ({_sure(level)}){_known(known)}"
    return Judged(verdict=verdict, reasons=(f"fidelity: {text}: {why}",))


def _judge_worst_text(
    texts: Sequence[TextShift], still: Sequence[TextShift] | None, limit: float, known: float | None
) -> Judged:
    farthest = max(texts, key=lambda text: text.kl)
    beyond = sum(text.kl > limit for text in texts)
    said = f"fidelity: the worst of {len(texts)} texts, {farthest.text}, moved by {farthest.kl:.4g} nats a token"
    _, most = share_bounds(beyond, len(texts))
    if not beyond:
        verdict, why = Verdict.PASS, f"fewer than {most:.1%} of such texts move farther than that ({_sure(ALPHA)})"
    elif still is not None and (reaches := max(text.kl for text in still)) > limit:
        verdict, why = Verdict.INCONCLUSIVE, f"the baseline against itself reaches {reaches:.4g}"
    else:
        verdict, why = Verdict.FAIL, f"{beyond} of {len(texts)} moved farther than that"
    return Judged(verdict=verdict, reasons=(f"{said}, allowed {limit:g}: {why}{_known(known)}",))


def _known(figure: float | None) -> str:
    return "" if figure is None else f"; known: {figure:.4g}"


def _sure(error: float) -> str:
    return f"{100 * (1 - error):.4g}% sure"


def _loglikelihood_drop(texts: Sequence[TextShift], alpha: float) -> Estimate:
    change = mean_loglikelihood(texts, alpha)
    # Not -x: nothing is not less than nothing.
    return Estimate(mean=0 - change.mean, low=0 - change.high, high=0 - change.low)


def _changed(texts: Sequence[TextShift], alpha: float) -> Estimate:
    same = mean_same_top(texts, alpha)
    return Estimate(mean=1 - same.mean, low=1 - same.high, high=1 - same.low)
