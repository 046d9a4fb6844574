"""Turns the comparison of predictions into a verdict, and a large shift that no threshold judges into a warning."""

from collections.abc import Iterable, Iterator

from harness.config.thresholds import FidelityThreshold
from harness.errors import HarnessError
from harness.judge.predictions import Estimate, Fidelity, compare
from harness.judge.results import FidelityReport
from harness.judge.verdict import Judged, Verdict, worst
from harness.plan.plan import AGAIN, BASELINE, COMPRESSED, FidelityPlan
from harness.records.predictions import TextRecord, read_predictions
from harness.records.run_folder import RunFolder
from harness.stats import ALPHA

# From here on a shift is large, in nats a token. On the CPU default, compression to INT8 a token comes to 0.042, to
# INT8 in groups of 64 to 0.005, none to 0. To compare: 5-bit weights of an 8 B model (llama.cpp's Q5_K_M) come to
# 0.005, 3-bit ones (IQ3_M) to 0.066: huggingface.co/eaddario/Watt-Tool-8B-GGUF, scores/.
LARGE_KL = 0.01
# Bounds of a mean that come from fewer texts than these are too narrow.
FEWEST_TEXTS = 8


def fidelity_report(folder: RunFolder, plan: FidelityPlan, arms: Iterable[str]) -> FidelityReport:
    """Build it.

    Args:
        folder: The run's folder.
        plan: What the plan says of it.
        arms: The run's arms.
    """
    found: dict[str, list[TextRecord]] = {}
    unread: list[str] = []
    for arm in arms:
        try:
            found[arm] = read_predictions(folder.arm(arm).predictions)
        except HarnessError as error:
            unread.append(f"{arm} arm: {error}")
            found[arm] = []
    expected = sum(plan.texts.values())
    compressed = compare(found[BASELINE], found[COMPRESSED], expected=expected)
    if unread:
        # Without records the comparison's own faults only say that again.
        compressed = compressed.model_copy(update={"faults": unread})
    noise = None
    if AGAIN in found and not unread:
        noise = compare(found[BASELINE], found[AGAIN], expected=expected, names=(BASELINE, AGAIN))
    judged = judge_fidelity(compressed, noise, plan.threshold)
    return FidelityReport(
        compressed=compressed,
        noise=noise,
        threshold=plan.threshold,
        warnings=fidelity_warnings(compressed, noise, plan.threshold),
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        protocol=plan.protocol(),
    )


def judge_fidelity(fidelity: Fidelity, noise: Fidelity | None, threshold: FidelityThreshold | None) -> Judged:
    """Judge how far compression moved the predictions.

    PASS where the whole interval is within the threshold, FAIL where it is beyond, INCONCLUSIVE between; each
    with an error of 5 %. What the baseline does by itself is no failure of compression: where the noise floor may be
    beyond the threshold, so that a FAIL could not be told from it, the verdict is INCONCLUSIVE.

    Args:
        fidelity: The compressed arm against the baseline.
        noise: The baseline against itself, where that was measured.
        threshold: What is accepted, or None.
    """
    unfit = [*_unfit("fidelity", fidelity), *(_unfit("fidelity's noise floor", noise) if noise else ())]
    if unfit or fidelity.overall is None:
        return Judged(verdict=Verdict.ERROR, reasons=tuple(unfit))
    if threshold is None:
        return Judged(verdict=Verdict.REPORTED, reasons=("fidelity: reported only",))
    still = noise.overall if noise else None
    shift = fidelity.overall
    parts = []
    if threshold.max_mean_kl is not None:
        said = f"mean KL divergence {shift.kl.mean:.4g} nats, allowed {threshold.max_mean_kl:g}"
        parts.append(_judge(said, shift.kl, still.kl if still else None, threshold.max_mean_kl, fidelity.texts))
    if threshold.min_same_top is not None:
        changed, limit = _complement(shift.same_top), 1 - threshold.min_same_top
        said = f"the most likely token changed in a share of {changed.mean:.4g}, allowed {limit:.4g}"
        parts.append(_judge(said, changed, _complement(still.same_top) if still else None, limit, fidelity.texts))
    return worst(parts)


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
    if shift.kl.low <= max(LARGE_KL, still.kl.high if still else 0.0):
        return []
    floor = f"baseline against itself: {still.kl.mean:.2g}" if still else "what changes by itself was not measured"
    where = ", ".join(f"{name} {part.kl.mean:.3f}" for name, part in fidelity.positions.items())
    changed = _complement(shift.same_top).mean
    text = (
        f"predictions of fixed text moved far: mean KL divergence {shift.kl.mean:.3f} nats, large from {LARGE_KL:g} "
        f"on ({where}; {floor}); {changed:.1%} of the most likely tokens changed, the text's log-likelihood by "
        f"{shift.loglikelihood.mean:+.3f} nats a token"
    )
    return [text]


def _unfit(name: str, fidelity: Fidelity) -> Iterator[str]:
    yield from (f"{name}: {fault}" for fault in fidelity.faults)
    if fidelity.failed:
        requests = "request" if fidelity.failed == 1 else "requests"
        yield f"{name}: {fidelity.failed} {requests} failed; a failed request is not a prediction"
    elif fidelity.overall is None and not fidelity.faults:
        yield f"{name}: nothing was predicted in both arms"


def _judge(said: str, seen: Estimate, still: Estimate | None, limit: float, texts: int) -> Judged:
    sure = f"{1 - ALPHA:.0%} sure"
    if texts < FEWEST_TEXTS:
        verdict, why = (
            Verdict.INCONCLUSIVE,
            f"decided from {FEWEST_TEXTS} texts on, here {texts}: too little data",
        )
    elif seen.high < limit:
        verdict, why = Verdict.PASS, f"the true value is below {seen.high:.4g} ({sure})"
    elif seen.low <= limit:
        between = f"{seen.low:.4g} and {seen.high:.4g}"
        verdict, why = Verdict.INCONCLUSIVE, f"the true value lies between {between}, which decides nothing"
    elif still is not None and still.high >= limit:
        verdict, why = Verdict.INCONCLUSIVE, f"the baseline against itself may reach {still.high:.4g}"
    else:
        verdict, why = Verdict.FAIL, f"the true value is above {seen.low:.4g} ({sure})"
    return Judged(verdict=verdict, reasons=(f"fidelity: {said}: {why}",))


def _complement(share: Estimate) -> Estimate:
    return Estimate(mean=1 - share.mean, low=1 - share.high, high=1 - share.low)
